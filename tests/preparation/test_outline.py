"""What the server of the outlining page gives out and takes, and whom it refuses; no browser."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from aligndiff.core.errors import InputError
from aligndiff.preparation.outline import outline_photos
from tests.preparation.conftest import Outlining, outlining

ROOT = Path(__file__).resolve().parents[2]
SIZE = (30, 41)  # (h, w); no whole number of bytes a row
MASK = np.add.outer(np.arange(30), np.arange(41)) % 7 < 2
BITS = np.packbits(MASK).tobytes()


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    found = []
    for name in ("one.jpg", "two.jpg"):
        found.append(tmp_path / name)
        Image.new("RGB", SIZE[::-1], "olive").save(found[-1])
    return found


@pytest.fixture
def page(photos: list[Path], tmp_path: Path):
    with outlining(photos, tmp_path / "masks", title="fish") as page:
        yield page


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.array(image)


def test_a_mask_is_written_as_it_was_sent(page: Outlining, photos: list[Path]) -> None:
    assert page.ask("PUT", "masks/1", BITS) == (204, b"")
    assert np.array_equal(read(page.mask_path(photos[1])), np.where(MASK, 255, 0))
    assert page.ask("GET", "masks/1") == (200, BITS)
    assert page.ask("GET", "masks/0") == (204, b"")
    session = json.loads(page.ask("GET", "session.json")[1])
    assert session == {
        "title": "fish",
        "photos": [{"name": "one.jpg", "saved": False}, {"name": "two.jpg", "saved": True}],
    }


def test_those_saved_come_back_in_the_order_of_the_photos(photos, tmp_path) -> None:
    with outlining(photos, tmp_path / "masks") as page:
        for number in (1, 0, 1):
            assert page.ask("PUT", f"masks/{number}", BITS)[0] == 204
    assert page.result == photos


def test_a_mask_that_is_there_can_be_corrected(photos, tmp_path) -> None:
    there = tmp_path / "there.png"
    Image.fromarray(np.where(MASK, 255, 0).astype(np.uint8)).save(there)
    other = tmp_path / "other.png"
    Image.new("L", (8, 8), 255).save(other)
    with outlining(photos, tmp_path, masks=dict(zip(photos, (there, other), strict=True))) as page:
        assert page.ask("GET", "masks/0") == (200, BITS)
        status, problem = page.ask("GET", "masks/1")
        assert status == 409
        assert problem.decode() == f"{other}: is not of the photo's size; draw the mask anew"


def test_a_large_photo_is_shown_smaller_but_masked_whole(tmp_path) -> None:
    photo = tmp_path / "large.png"
    Image.new("L", (6000, 4000)).save(photo)
    with outlining([photo], tmp_path / "masks") as page:
        status, jpeg = page.ask("GET", "photos/0")
        assert status == 200
        (tmp_path / "shown.jpg").write_bytes(jpeg)
        with Image.open(tmp_path / "shown.jpg") as shown:
            assert shown.size == (4899, 3266)
        assert page.ask("PUT", "masks/0", b"\xff" * (6000 * 4000 // 8))[0] == 204
        assert page.saved[0][1].shape == (4000, 6000)


def test_what_cannot_be_saved_is_told_and_can_be_tried_again(photos, tmp_path) -> None:
    problems = [InputError("one.jpg: covers all of the photo"), OSError(28, "", "disk/one.png")]

    def save(photo: Path, mask: np.ndarray) -> None:
        if problems:
            raise problems.pop(0)

    with outlining(photos, tmp_path, save=save) as page:
        assert page.ask("PUT", "masks/0", BITS) == (409, b"one.jpg: covers all of the photo")
        status, problem = page.ask("PUT", "masks/0", BITS)
        assert status == 409 and b"make space on the disk" in problem
        assert page.ask("GET", "masks/0")[0] == 204  # none yet
        assert page.ask("PUT", "masks/0", BITS) == (204, b"")
        assert page.ask("PUT", "masks/0", bytes(len(BITS))) == (409, b"nothing is drawn yet")


def test_a_broken_photo_is_named_and_the_others_go_on(photos, tmp_path) -> None:
    photos[0].write_bytes(b"no picture")
    with outlining(photos, tmp_path / "masks") as page:
        status, problem = page.ask("GET", "photos/0")
        assert status == 409 and str(photos[0]) in problem.decode()
        assert page.ask("GET", "thumbnails/0")[0] == 409
        assert page.ask("PUT", "masks/0", BITS)[0] == 404
        assert page.ask("PUT", "masks/1", BITS)[0] == 204


def test_a_bug_in_save_ends_the_call(photos, tmp_path) -> None:
    def save(photo: Path, mask: np.ndarray) -> None:
        raise ZeroDivisionError

    with outlining(photos, tmp_path, save=save) as page, pytest.raises(OSError):
        page.ask("PUT", "masks/0", BITS)  # no answer
    assert isinstance(page.result, ZeroDivisionError)


HOSTILE = [
    ("GET", "/", {}, 404),
    ("GET", "/session.json", {}, 404),
    ("GET", "/wrong-token/", {}, 404),
    ("GET", "/wrong-token/photos/0", {}, 404),
    ("GET", "photos/2", {}, 404),
    ("GET", "photos/-1", {}, 404),
    ("GET", "photos/00", {}, 404),
    ("GET", "photos/0?x", {}, 404),
    ("GET", "photos/../../etc/passwd", {}, 404),
    ("GET", "..%2f..%2fetc%2fpasswd", {}, 404),
    ("GET", "outline.py", {}, 404),
    ("GET", "../outline.py", {}, 404),
    ("GET", "session.json", {"Host": "evil.example"}, 403),
    ("GET", "session.json", {"Host": "127.0.0.1.evil.example"}, 403),
    ("GET", "session.json", {"Origin": "http://evil.example"}, 403),
    ("PUT", "masks/0", {"Origin": "http://evil.example"}, 403),
    ("PUT", "masks/0", {"Origin": "null"}, 403),
    ("PUT", "masks/0", {"Origin": "http://127.0.0.1"}, 403),  # another port is another page
    ("PUT", "masks/0", {"Host": "evil.example", "Origin": "http://evil.example"}, 403),
    ("PUT", "/wrong-token/masks/0", {}, 404),
    ("PUT", "masks/2", {}, 404),
    ("PUT", "photos/0", {}, 404),
    ("PUT", "one.jpg", {}, 404),
    ("PUT", "masks/../one.jpg", {}, 404),
    ("PUT", "masks/0", {"Content-Length": str(2**40)}, 413),
    ("PUT", "masks/0", {"Content-Length": "-1"}, 413),
    ("PUT", "masks/0", {"Content-Length": str(len(BITS) - 1)}, 413),
    ("PUT", "masks/0", {"Content-Length": str(len(BITS)), "Transfer-Encoding": "chunked"}, 411),
    ("PUT", "done", {"Origin": "http://evil.example"}, 403),
    ("POST", "masks/0", {}, 501),
    ("DELETE", "masks/0", {}, 501),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), HOSTILE)
def test_hostile_requests_are_refused(page, photos, method, path, headers, status) -> None:
    before = [photo.read_bytes() for photo in photos]
    body = BITS if method == "PUT" and "Content-Length" not in headers else None
    assert page.ask(method, path, body, headers)[0] == status
    assert page.saved == [] and not page.folder.exists()
    assert [photo.read_bytes() for photo in photos] == before
    assert page.ask("GET", "session.json")[0] == 200  # it lives, and is not finished


def test_a_put_without_origin_or_with_two_hosts_is_refused(page: Outlining) -> None:
    path = urlsplit(page.address).path
    host = f"Host: 127.0.0.1:{page.port}\r\n"
    for head in (
        f"PUT {path}done HTTP/1.1\r\n{host}Content-Length: 0\r\n\r\n",
        f"GET {path} HTTP/1.1\r\n{host}Host: evil.example\r\n\r\n",
        f"GET {path} HTTP/1.0\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", page.port), 30) as connection:
            connection.sendall(head.encode())
            assert b" 403 " in connection.makefile("rb").readline()


def test_a_tunnel_may_have_another_port(page: Outlining) -> None:
    far = {"Host": "localhost:8080", "Origin": "http://localhost:8080"}
    assert page.ask("GET", "session.json", headers={"Host": "localhost:8080"})[0] == 200
    assert page.ask("PUT", "masks/0", BITS, far)[0] == 204


def test_only_this_machine_gets_in_and_each_call_has_its_own_token(page, photos, tmp_path) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", page.port), 5)  # the loopback too, not ours
    with outlining(photos, tmp_path) as other:
        assert other.port != page.port
        assert page.ask("GET", urlsplit(other.address).path)[0] == 404


def test_the_page_may_reach_nothing_else(page: Outlining) -> None:
    with socket.create_connection(("127.0.0.1", page.port), 30) as connection:
        path = urlsplit(page.address).path
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = connection.makefile("rb").read().decode()
    assert "Content-Security-Policy: default-src 'none'; script-src 'self'" in answer
    assert "Cache-Control: no-store" in answer and "Python" not in answer
    assert not re.search(r"https?:|//", answer.partition("\r\n\r\n")[2])  # no address in the page


def test_a_port_that_is_taken_is_told(page, photos, tmp_path) -> None:
    with pytest.raises(InputError, match=f"port {page.port} of 127.0.0.1: .*; give another one"):
        outline_photos(photos, lambda photo, mask: None, announce=print, port=page.port)


def test_the_line_for_another_machine_names_the_port(page: Outlining) -> None:
    assert re.search(rf"ssh -N -L {page.port}:127\.0\.0\.1:{page.port} \S+@\S+", page.lines[1])


def test_ctrl_c_waits_for_a_mask_that_is_being_saved(photos, tmp_path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from aligndiff.dataset.images import write_mask\n"
        "from aligndiff.core.exits import exit_with\n"
        "from aligndiff.preparation.outline import outline_photos\n"
        "def save(photo, mask):\n"
        "    print('saving', flush=True); time.sleep(1); write_mask(sys.argv[2], mask)\n"
        "def main():\n"
        "    announce = lambda line: print(line, flush=True)\n"
        "    outline_photos([Path(sys.argv[1])], save, announce=announce)\n"
        "    return 0\n"
        "exit_with(main)\n"
    )
    out = tmp_path / "mask.png"
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(photos[0]), str(out)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background ignore SIGINT, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    page = Outlining(tmp_path, [process.stdout.readline(), process.stdout.readline()])
    with socket.create_connection(("127.0.0.1", page.port), 30) as connection:
        path = urlsplit(page.address).path
        head = f"Host: localhost\r\nOrigin: http://localhost\r\nContent-Length: {len(BITS)}\r\n\r\n"
        connection.sendall(f"PUT {path}masks/0 HTTP/1.1\r\n{head}".encode() + BITS)
        assert process.stdout.readline() == "saving\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr == "stopped; run the same command again to continue\n"
    assert np.array_equal(read(out), np.where(MASK, 255, 0))
