"""Drives the simulator with the maker's own client library, and says what came back.

Usage: client.py PORT. Commands come as lines "CLA INS P1 P2 DATA" in hexadecimal (DATA may be "-"); for each one a line
"STATUS DATA" goes back.
"""

import sys

from ledgercomm import Transport


def main() -> None:
    transport = Transport(interface="tcp", server="127.0.0.1", port=int(sys.argv[1]), debug=False)
    for line in sys.stdin:
        cla, ins, p1, p2, data = line.split()
        status, reply = transport.exchange(
            cla=int(cla, 16),
            ins=int(ins, 16),
            p1=int(p1, 16),
            p2=int(p2, 16),
            cdata=b"" if data == "-" else bytes.fromhex(data),
        )
        print(f"{status:04x} {reply.hex() or '-'}", flush=True)
    transport.close()


main()
