// Boost.Beast: blocking calls in the client, completion handlers in the server, as in its own
// examples. The same roles and command line as the Python adapters (common.py), but for churn, idle
// and broadcast. --window needs both directions at once, so there the client is asynchronous, too.
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <boost/version.hpp>
#ifdef WITH_TLS
#include <boost/asio/ssl.hpp>
#include <boost/beast/ssl.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <openssl/opensslv.h>
#endif

#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace websocket = beast::websocket;
using tcp = asio::ip::tcp;
using Clock = std::chrono::steady_clock;

namespace {

struct Options {
    std::string side, role;
    unsigned short port = 0;
    std::size_t size = 256;
    std::uint64_t window = 1, messages = 0;
    double seconds = 1, warmup = 0.3;
    std::string ca, cert, key;
} options;

[[noreturn]] void fail(const std::string &text) {
    std::fprintf(stderr, "%s\n", text.c_str());
    std::_Exit(1);
}

void parse(int count, char **words) {
    if (count < 3) fail("usage: adapter SIDE ROLE [--OPTION VALUE ...]");
    options.side = words[1];
    options.role = words[2];
    for (int i = 3; i + 1 < count; i += 2) {
        const std::string name = words[i], value = words[i + 1];
        if (name == "--port") options.port = static_cast<unsigned short>(std::stoul(value));
        else if (name == "--size") options.size = std::stoul(value);
        else if (name == "--window") options.window = std::stoul(value);
        else if (name == "--messages") options.messages = std::stoul(value);
        else if (name == "--seconds") options.seconds = std::stod(value);
        else if (name == "--warmup") options.warmup = std::stod(value);
        else if (name == "--ca") options.ca = value;
        else if (name == "--cert") options.cert = value;
        else if (name == "--key") options.key = value;
        else if (name != "--connections" && name != "--first") fail("unknown option " + name);
    }
}

std::string new_message() {
    std::string message(options.size, 'a');
    for (std::size_t i = 0; i < message.size(); ++i) message[i] = static_cast<char>('a' + i % 26);
    return message;
}

double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval &t) {
        return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

long resident_bytes() {
    long pages = 0;
    if (std::FILE *file = std::fopen("/proc/self/statm", "r")) {
        if (std::fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
        std::fclose(file);
    }
    return pages * sysconf(_SC_PAGESIZE);
}

// A warm-up and the measured seconds after it, or all of --messages; looked at per message.
class Window {
public:
    void begin() {
        if (begun_) return;
        begun_ = true;
        first_ = Clock::now();
        if (options.messages) open(0);
    }

    // True when the window is over: the result has then been printed.
    bool tick(std::uint64_t count) {
        // Reading the clock costs some 25 ns, so streams look at it for every 64th message only.
        if (!options.messages && (count & mask_)) return false;
        const auto now = Clock::now();
        if (!open_) {
            if (seconds(now - first_) >= options.warmup) open(count);
            return false;
        }
        if (options.messages ? count < options.messages
                             : seconds(now - start_) < options.seconds) {
            return false;
        }
        std::printf("{\"count\": %llu, \"seconds\": %.9f, \"cpu\": %.9f, \"rss\": %ld}\n",
                    static_cast<unsigned long long>(count - count_), seconds(now - start_),
                    cpu_seconds() - cpu_, resident_bytes());
        std::fflush(stdout);
        return true;
    }

    void look_seldom() { mask_ = 63; }

private:
    static double seconds(Clock::duration time) {
        return std::chrono::duration<double>(time).count();
    }

    void open(std::uint64_t count) {
        open_ = true;
        count_ = count;
        start_ = Clock::now();
        cpu_ = cpu_seconds();
    }

    bool begun_ = false, open_ = false;
    std::uint64_t mask_ = 0, count_ = 0;
    double cpu_ = 0;
    Clock::time_point first_, start_;
};

template <class Stream>
void prepare(websocket::stream<Stream> &ws) {
    ws.binary(true);
    ws.auto_fragment(false);
    ws.read_message_max(0);
    beast::get_lowest_layer(ws).set_option(tcp::no_delay(true));
}

class Counter {
public:
    // True when the window is over.
    bool take(beast::flat_buffer &buffer) {
        std::uint64_t number;
        if (buffer.size() < sizeof number) fail("a message without a number");
        std::memcpy(&number, buffer.data().data(), sizeof number);
        if (number != count_) fail("a message is missing");
        buffer.consume(buffer.size());
        count_ += 1;
        return window_.tick(count_);
    }

    void begin() {
        window_.look_seldom();
        window_.begin();
    }

private:
    std::uint64_t count_ = 0;
    Window window_;
};

// Server: one object per connection, alive while an operation is pending.
template <class Stream>
class Session : public std::enable_shared_from_this<Session<Stream>> {
public:
    template <class... Arguments>
    explicit Session(Arguments &&...arguments)
        : ws_(std::forward<Arguments>(arguments)...), message_(new_message()) {}

    void run() {
        prepare(ws_);
        auto self = this->shared_from_this();
#ifdef WITH_TLS
        if constexpr (!std::is_same_v<Stream, tcp::socket>) {
            ws_.next_layer().async_handshake(asio::ssl::stream_base::server,
                                             [self](beast::error_code error) {
                                                 if (!error) self->accept();
                                             });
            return;
        }
#endif
        accept();
    }

private:
    void accept() {
        ws_.async_accept([self = this->shared_from_this()](beast::error_code error) {
            if (error) return;
            if (options.role == "source") {
                self->write();
                return;
            }
            self->counter_.begin();
            self->read();
        });
    }

    void read() {
        ws_.async_read(buffer_, [self = this->shared_from_this()](beast::error_code error, auto) {
            if (error) return;
            if (options.role == "sink") {
                if (!self->over_) {
                    self->over_ = self->counter_.take(self->buffer_);
                } else {
                    self->buffer_.consume(self->buffer_.size());
                }
                self->read();
            } else {
                self->echo();
            }
        });
    }

    void echo() {
        auto self = this->shared_from_this();
        ws_.async_write(buffer_.data(), [self](beast::error_code error, auto) {
            if (error) return;
            self->buffer_.consume(self->buffer_.size());
            self->read();
        });
    }

    void write() {
        auto self = this->shared_from_this();
        ws_.async_write(asio::buffer(message_), [self](beast::error_code error, auto) {
            if (error || ++self->sent_ == options.messages) return;
            self->write();
        });
    }

    websocket::stream<Stream> ws_;
    beast::flat_buffer buffer_;
    Counter counter_;
    std::string message_;
    std::uint64_t sent_ = 0;
    bool over_ = false;
};

int serve() {
    asio::io_context io(1);
    tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), options.port});
    std::function<void()> accept;
#ifdef WITH_TLS
    asio::ssl::context tls(asio::ssl::context::tls_server);
    if (!options.cert.empty()) {
        tls.use_certificate_chain_file(options.cert);
        tls.use_private_key_file(options.key, asio::ssl::context::pem);
    }
#endif
    accept = [&] {
        acceptor.async_accept([&](beast::error_code error, tcp::socket socket) {
            if (error) fail(error.message());
#ifdef WITH_TLS
            if (!options.cert.empty()) {
                using Secure = Session<beast::ssl_stream<tcp::socket>>;
                std::make_shared<Secure>(std::move(socket), tls)->run();
                accept();
                return;
            }
#endif
            std::make_shared<Session<tcp::socket>>(std::move(socket))->run();
            accept();
        });
    };
    accept();
    asio::posix::stream_descriptor input(io, dup(STDIN_FILENO));
    char bytes[64];
    std::function<void()> wait_for_end = [&] {
        input.async_read_some(asio::buffer(bytes), [&](beast::error_code error, std::size_t) {
            if (error) std::_Exit(0);
            wait_for_end();
        });
    };
    wait_for_end();
    std::printf("{\"port\": %d}\n", acceptor.local_endpoint().port());
    std::fflush(stdout);
    io.run();
    return 0;
}

template <class Stream>
void check_echo(beast::flat_buffer &buffer, const std::string &message) {
    if (buffer.size() != message.size() ||
        std::memcmp(buffer.data().data(), message.data(), message.size()) != 0) {
        fail("the echo is not what was sent");
    }
    buffer.consume(buffer.size());
}

// Several messages in flight: an echo that arrives makes room for the next message.
template <class Stream>
void echo_pipelined(asio::io_context &io, websocket::stream<Stream> &ws) {
    const std::string message = new_message();
    beast::flat_buffer buffer;
    Window window;
    std::uint64_t echoed = 0, waiting = options.window;
    bool writing = false;
    std::function<void()> read, write;
    write = [&] {
        if (writing || waiting == 0) return;
        writing = true;
        waiting -= 1;
        ws.async_write(asio::buffer(message), [&](beast::error_code error, std::size_t) {
            if (error) fail(error.message());
            writing = false;
            write();
        });
    };
    read = [&] {
        ws.async_read(buffer, [&](beast::error_code error, std::size_t) {
            if (error) fail(error.message());
            check_echo<Stream>(buffer, message);
            echoed += 1;
            if (window.tick(echoed)) std::_Exit(0);
            waiting += 1;
            write();
            read();
        });
    };
    window.begin();
    write();
    read();
    io.run();
}

template <class Stream>
int play(asio::io_context &io, websocket::stream<Stream> &ws) {
    prepare(ws);
    ws.handshake("127.0.0.1:" + std::to_string(options.port), "/");
    beast::flat_buffer buffer;
    beast::error_code error;
    const std::string message = new_message();
    std::uint64_t count = 0;
    if (options.role == "echo" && options.window > 1) {
        echo_pipelined(io, ws);
    } else if (options.role == "echo") {
        Window window;
        window.begin();
        do {
            ws.write(asio::buffer(message));
            ws.read(buffer);
            check_echo<Stream>(buffer, message);
        } while (!window.tick(++count));
    } else if (options.role == "sink") {
        Counter counter;
        counter.begin();
        do {
            ws.read(buffer);
        } while (!counter.take(buffer));
    } else if (options.role == "source") {
        Window window;
        window.look_seldom();
        window.begin();
        bool over = false;
        while (!error) {
            ws.write(asio::buffer(message), error);
            if (!error && !over) over = window.tick(++count);
            if (over && options.messages) ws.read(buffer, error);
        }
    } else {
        fail("a client has no role " + options.role);
    }
    std::_Exit(0);
}

int connect() {
    asio::io_context io(1);
    const tcp::endpoint server(asio::ip::address_v4::loopback(), options.port);
#ifdef WITH_TLS
    if (!options.ca.empty()) {
        asio::ssl::context tls(asio::ssl::context::tls_client);
        tls.load_verify_file(options.ca);
        tls.set_verify_mode(asio::ssl::verify_peer);
        websocket::stream<beast::ssl_stream<tcp::socket>> ws(io, tls);
        beast::get_lowest_layer(ws).connect(server);
        ws.next_layer().handshake(asio::ssl::stream_base::client);
        return play(io, ws);
    }
#endif
    websocket::stream<tcp::socket> ws(io);
    ws.next_layer().connect(server);
    return play(io, ws);
}

} // namespace

int main(int count, char **words) {
    if (count == 2 && !std::strcmp(words[1], "versions")) {
        std::printf("{\"boost\": \"%d.%d.%d\", \"compiler\": \"%s\"", BOOST_VERSION / 100000,
                    BOOST_VERSION / 100 % 1000, BOOST_VERSION % 100, __VERSION__);
#ifdef WITH_TLS
        std::printf(", \"openssl\": \"%s\"", OPENSSL_VERSION_TEXT);
#endif
        std::puts("}");
        return 0;
    }
    parse(count, words);
    try {
        return options.side == "server" ? serve() : connect();
    } catch (const std::exception &error) {
        fail(error.what());
    }
}
