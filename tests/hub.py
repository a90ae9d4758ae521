"""A model hub on this machine that serves one folder, as the hub's client asks for it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "c0ffee" + "0" * 34


@contextmanager
def local_hub(folder: Path, name: str, cache: Path) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Serve `folder` as the model `name` ("owner/name").

    Yields the environment of a process that asks it, with an empty `cache` folder, and the list of
    the files that were fetched so far.
    """
    fetched: list[str] = []
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }
    about = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in sizes]}
    tree = [
        {"type": "file", "path": file, "size": size, "oid": COMMIT} for file, size in sizes.items()
    ]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            file = path.removeprefix(f"/{name}/resolve/").partition("/")[2]
            if path.startswith(f"/api/models/{name}/tree/"):
                self.answer(json.dumps(tree).encode())
            elif path.startswith(f"/api/models/{name}"):
                self.answer(json.dumps(about).encode())
            elif path == "/":
                self.answer(b"")
            elif file in sizes:
                fetched.extend([file] * (self.command == "GET"))
                self.answer((folder / file).read_bytes())
            else:
                self.answer(b"", 404)

        do_HEAD = do_GET

        def answer(self, body: bytes, status: int = 200) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            if status == 404:
                self.send_header("X-Error-Code", "EntryNotFound")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "0"}, fetched
    finally:
        server.shutdown()
        server.server_close()
