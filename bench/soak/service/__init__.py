"""Keep a service with workers busy for hours while it is drained and restarted, and lose nothing.

    python -m bench.soak.service [--hours 2 | --minutes M] [--connections 5000] [--period MINUTES]

The service is ``python -m picows_server --workers 2``. The clients are links of
``ws_keep_connected`` in this process. They send numbered messages of mixed sizes, which come back,
close their connections or abort them now and then, and connect again. Some do not read for a while
and have the service send more than the kernel's buffers hold. Once in every period (ten minutes)
the workers are replaced one by one (SIGHUP), and once the service is drained (SIGTERM) and started
again on the same port.

What counts as lost: on a connection that ends by a closing handshake, everything that the service
has sent before its CLOSE must be delivered to the client, in order, and everything that the client
has sent to the service, in order, before its own CLOSE. The exception is what reaches the service
after it has begun to close: it does not look at that, and so there is no response to it. A client
thus knows what to send again: the messages without a response, and these must be exactly those that
the service has not received. A worker writes down for each connection what it received and sent;
this process compares that with what it sent and received. On a connection that a client aborts,
what arrives must be in order and without a gap.

The soak checks besides that

* no connection ends in another way, and none is refused while workers are replaced;
* the service exits with 0 after each drain, and none of its processes is left then;
* nothing is logged as a warning or an error, neither by the service nor by the clients (except the
  first attempt to connect while the service is stopped);
* at the end no connection, task or descriptor is left, and memory has not grown.

It prints a report, writes it as JSON (``--output``), and ends with an error if a check failed.
"""
