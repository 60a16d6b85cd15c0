"""A PostgreSQL server that refuses every connection with one answer, in German."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def refusing_server(code: str, text: str) -> Iterator[str]:
    """The URL of a server that refuses connections with SQLSTATE `code`, as long as the block runs."""
    fields = {b"S": "SCHWERWIEGEND", b"V": "FATAL", b"C": code, b"M": text}
    body = b"".join(key + value.encode() + b"\0" for key, value in fields.items()) + b"\0"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answer = b"E" + (len(body) + 4).to_bytes(4) + body
        threading.Thread(target=_serve, args=(listener, answer), daemon=True).start()
        yield f"postgresql://me:s3cret@127.0.0.1:{listener.getsockname()[1]}/db"


def _serve(listener: socket.socket, answer: bytes) -> None:
    with suppress(OSError):
        while True:
            with listener.accept()[0] as connection:
                while int.from_bytes(connection.recv(4096)[4:8]) in (80877103, 80877104):  # SSL, GSSAPI
                    connection.sendall(b"N")
                connection.sendall(answer)
