"""Hold many connections for a while, under churn and faults, and lose nothing.

    python -m bench.soak [--connections 2000] [--seconds 60] [--loop asyncio|uvloop] [--seed N]

One process runs our server and our clients. Clients send numbered messages of mixed sizes, whole
and in fragments; the server checks the numbers and echoes; clients check what comes back, byte by
byte. Connections live for a few seconds and end in every possible way; some clients read slowly,
and some peers never read, stall, break the protocol or vanish. The soak checks that

* on a connection that is closed in order, both sides get every message, in order;
* on every other one, the messages that arrive are in order and without a gap;
* every connection ends, with the right cause, and tells its listener exactly once;
* nothing is logged as an error, and at the end no connection, task or descriptor is left.

It reports messages, memory and descriptors while it runs, and ends with an error if a check failed.
"""
