"""The gallery in a real browser: what is seen, keys, filters, marks, hostile names, 10,000 samples.

Without a browser these tests are skipped. CHROMIUM=/path/to/it names one that is not on PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aligndiff.dataset.prompt_bank import load_prompt_bank
from aligndiff.dataset.samples import StoredSample, stored_samples
from aligndiff.gallery.pictures import measured
from scripts import view_dataset
from tests.chromium import Chromium, Page
from tests.made_samples import make_samples

COUNT = 12  # samples of each of the three entries
HOSTILE = "</script><img src=x onerror=hacked()>"


@pytest.fixture(scope="module")
def dataset(dataset_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with samples and a gallery, in a folder whose name needs escaping in a URL."""
    root = tmp_path_factory.mktemp("page") / "a #1 100%25 <b>"
    shutil.copytree(dataset_template, root)
    make_samples(root, COUNT)
    assert view_dataset.main(["--dataset_dir", str(root)]) == 0
    return root


@pytest.fixture
def page(browser: Chromium, dataset: Path) -> Iterator[Page]:
    """The gallery, just opened, without marks. Nothing may have gone wrong in it at the end."""
    page = browser.open(dataset / "gallery" / "index.html")
    page.js("localStorage.clear()")
    page.reload()
    yield page
    assert page.complaints() == []
    page.close()


@pytest.fixture(scope="module")
def samples(dataset: Path) -> list[StoredSample]:
    return list(stored_samples(load_prompt_bank(dataset)))


def names(page: Page) -> list[str]:
    """Of the cells in the page, from the top down."""
    return page.js(
        "[...document.querySelectorAll('.cell')].sort((a, b) => a.dataset.at - b.dataset.at)"
        ".map(cell => cell.dataset.name)"
    )


def text(page: Page, selector: str) -> str:
    return page.js(f"document.querySelector({json.dumps(selector)}).innerText")


def count(page: Page) -> str:
    return text(page, "#count").removesuffix(" samples")


def choose(page: Page, control: str, value: str) -> None:
    """Set a select or a slider as a user does."""
    page.js(
        f"(e => {{ e.value = {json.dumps(value)}; e.dispatchEvent(new Event('input'));"
        f"e.dispatchEvent(new Event('change')); }})(document.querySelector('{control}'))"
    )
    page.settle()


def check_box(page: Page, facet: str, label: str) -> None:
    page.js(
        f"[...document.querySelectorAll('#filter-{facet} li')]"
        f".find(li => li.querySelector('.name').textContent === {json.dumps(label)})"
        ".querySelector('input').click()"
    )
    page.settle()


def test_samples_and_real_pairs_are_seen(page, dataset, samples):
    assert text(page, "#title") == dataset.name
    assert count(page) == str(3 * COUNT)
    shown = names(page)
    assert shown == [sample.name for sample in samples[: len(shown)]]
    page.wait("[...document.images].every(image => image.complete)")
    assert page.js("[...document.images].every(image => image.naturalWidth > 0)")
    assert text(page, "#reference strong") == "fish"
    assert page.js("document.querySelectorAll('#reference .pair').length") == 3
    page.key("End")
    assert text(page, "#reference strong") == "albatross"


def test_keys_and_hovering_show_heatmap_and_mask(page):
    views = "[...document.querySelectorAll('.cell .pic')].map(pic => pic.dataset.view)"
    layers = "document.querySelectorAll('.cell .{}').length"
    assert set(page.js(views)) == {"image"} and page.js(layers.format("layer")) == 0
    page.key("2")
    assert set(page.js(views)) == {"heatmap"}
    assert page.js(layers.format("heatmap")) == len(page.js(views))
    page.key("3")
    bare = page.js("document.querySelectorAll('.cell .bare').length")
    assert bare > 0 and page.js(layers.format("mask")) == len(page.js(views)) - bare
    page.key("1")
    for cell, shown in (("#cell-0", "mask"), ("#cell-2", "heatmap")):  # the third is rejected
        page.hover(cell)
        opacity = f"getComputedStyle(document.querySelector('{cell} .{shown}')).opacity"
        assert page.js(opacity) == "1"
        page.hover("#title")
        assert page.js(opacity) == "0"


def test_filters_count_as_the_records_do(page, samples):
    def expected(keep) -> str:
        return f"{sum(map(keep, samples))} of {len(samples)}"

    check_box(page, "category", "fish")
    assert count(page) == expected(lambda s: s.category == "fish")
    check_box(page, "status", "refined")
    check_box(page, "status", "rejected")
    assert count(page) == expected(lambda s: s.category == "fish" and s.record.status[0] == "r")
    page.click("#reset")
    assert count(page) == str(len(samples))

    check_box(page, "source", "pseudo label")
    assert count(page) == expected(lambda s: s.record.mask_source == "pseudo_label")
    # What else could be chosen is counted without this choice.
    assert text(page, "#filter-source li:first-child .number") == str(
        sum(sample.record.mask_source == "consensus" for sample in samples)
    )
    page.click("#reset")
    choose(page, "#min-iou", "0.55")
    assert count(page) == expected(lambda s: (s.record.iou or 0) >= 0.55)
    choose(page, "#min-iou", "0")
    choose(page, "#min-likeness", "0.3")
    assert count(page) == expected(lambda s: (s.record.likeness or 0) >= 0.3)
    choose(page, "#min-iou", "0.9")
    check_box(page, "status", "rejected")
    assert count(page).startswith("0 of") and names(page) == []
    assert page.js("!document.querySelector('#empty').hidden")
    page.key("x")  # nothing to mark, nothing breaks
    page.click("#reset")
    entry = samples[0].place.entry
    check_box(page, "entry", entry.prompt())
    assert count(page) == expected(lambda s: s.place.entry == entry)


def test_sorting_puts_unknown_scores_last(page, samples):
    choose(page, "#group", "none")
    scores = {sample.name: sample.record.iou for sample in samples}
    for way, sign in (("iou-up", 1), ("iou-down", -1), ("likeness-up", 1)):  # likeness: IoU / 2
        choose(page, "#sort", way)
        page.key("Home")
        found = [scores[name] for name in names(page)]
        known = [score for score in found if score is not None]
        assert known == sorted(known, key=lambda score: sign * score)
        page.key("End")
        assert scores[names(page)[-1]] is None
    choose(page, "#sort", "area-down")
    page.key("Home")
    refined = [sample for sample in samples if sample.record.status == "refined"]
    area = {sample.name: sample.read_mask().mean() for sample in refined}
    assert area[names(page)[0]] == max(area.values())


def test_the_record_of_a_sample(page, samples):
    page.click("#cell-1")
    record = samples[1].record
    words = text(page, "#record")
    for part in (samples[1].name, "a photo of a fish", "pseudo label", "0.5500", str(record.seed)):
        assert part in words
    page.key("3")
    assert page.js("document.querySelector('#record .stage .mask').src.endsWith('_mask.png')")
    page.key("ArrowRight")
    page.key("ArrowRight")
    assert text(page, "#record h2") == samples[3].name
    assert "the image is black" in text(page, "#record")
    page.key("ArrowLeft")
    assert text(page, "#record h2") == samples[2].name
    page.key("x")
    page.click("#record .pair")
    assert "real pair" in text(page, "#record") and text(page, "#record h2") == "fish / 1"
    page.key("Escape")
    assert not page.js("document.querySelector('#record').open")
    assert page.js("document.querySelector('.cell.marked').dataset.name") == samples[2].name


def test_the_whole_page_by_keyboard(page, samples):
    columns = page.js("document.querySelector('.row:not(.group)').children.length")
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight"):
        page.key(key)
    current = page.js("document.querySelector('.cell.current').dataset.name")
    assert current == samples[columns + 1].name
    page.key("Enter")
    assert text(page, "#record h2") == current
    page.key("Escape")
    page.key("x")
    assert text(page, "#marked-count") == "1"
    page.key("X", shift=True)
    assert text(page, "#marked-count") == str(3 * COUNT)
    page.key("X", shift=True)
    assert text(page, "#marked-count") == "0"
    page.key("h")
    assert page.js("document.activeElement.id") == "classes"
    page.key("h")
    page.key("?")
    assert page.js("document.querySelector('#help').open")


def test_marks_stay_and_become_a_list(browser, page, samples, tmp_path):
    for cell in ("#cell-0", "#cell-4"):
        page.hover(cell)
        page.key("x")
    marked = [samples[0].name, samples[4].name]
    check_box(page, "mark", "marked")
    assert names(page) == marked
    page.reload()
    assert text(page, "#marked-count") == "2"

    browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.click("#save-marked")
    found = downloaded(tmp_path)
    assert found.name.endswith("_marked.txt")
    assert found.read_text() == "".join(f"{name}\n" for name in marked)

    page.js("marks.set(all.samples, false)")
    assert text(page, "#marked-count") == "0"
    found.write_text(f"{samples[7].name}\r\nnobody_000000\n\n")
    document = page.call("DOM.getDocument")["root"]["nodeId"]
    chooser = page.call("DOM.querySelector", nodeId=document, selector="#marks-file")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=chooser, files=[str(found)])
    page.wait("document.querySelector('#marked-count').textContent === '1'")
    assert "1 of 2 names" in text(page, "#said")
    assert page.js("marks.names()") == [samples[7].name]


def test_a_sample_that_was_made_anew_is_not_marked(page, samples):
    """What the page leaves out keeps its mark: a page of some classes forgets nothing."""
    page.js("localStorage[marks.place] = JSON.stringify([['elsewhere_000000', 'made']])")
    page.js("marks.load(), apply()")
    page.hover("#cell-0")
    page.key("x")
    page.js("localStorage[marks.place] = localStorage[marks.place].replace('made', 'old')")
    page.js("marks.load(), apply()")
    assert text(page, "#marked-count") == "0"
    page.key("x")
    assert "elsewhere_000000" in page.js("localStorage[marks.place]")


def test_histograms_count_every_sample(page, samples):
    page.key("h")
    page.wait("document.querySelectorAll('.card svg').length === 4")
    assert page.js("[...document.querySelectorAll('.card h3')].map(h => h.innerText)") == [
        *("fish", "albatross")
    ]
    totals = page.js(
        "[...document.querySelectorAll('.card svg')].map(chart =>"
        "chart.getAttribute('aria-label').split(': ')[1].split(' ').map(Number))"
    )
    fish = [sample for sample in samples if sample.category == "fish"]
    scores = [sample.record.iou for sample in fish if sample.record.iou is not None]
    assert totals[0] == [sum(int(score * 20) == i for score in scores) for i in range(20)]
    masked = [sample for sample in fish if sample.record.status == "refined"]
    assert sum(totals[1]) == len(masked)
    assert page.js("document.querySelectorAll('.card:nth-of-type(1) svg .real').length") == 3
    # How many of the masks cover each of 16 x 16 places; a dot lies on few of the pixels asked.
    cells = [int(str(measured(sample.read_mask()).cells), 16) for sample in masked]
    covered = [sum(bits >> (255 - i) & 1 for bits in cells) / len(cells) for i in range(256)]
    pen = "document.querySelector('canvas').getContext('2d')"
    pixel = f"{pen}.getImageData(i % 16 * 22 + 1, (i >> 4) * 22 + 1, 1, 1).data[3]"
    drawn = page.js(f"Array.from({{length: 256}}, (_, i) => {pixel} / 255)")
    wrong = [i for i in range(256) if abs(drawn[i] - covered[i]) > 0.01]
    assert max(covered) > 0.5 and len(wrong) <= 6
    page.click("#cards-by [data-by=entry]")
    page.wait("document.querySelectorAll('.card').length === 3")
    page.click(".card:nth-of-type(2) h3 button")
    assert count(page) == f"{COUNT} of {3 * COUNT}"


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (420, 760)])
def test_nothing_runs_out_of_the_window(page, width, height):
    page.resize(width, height)
    page.settle()
    parts = "[...document.querySelectorAll('header *, footer *, .cell')]"
    assert page.js(f"Math.max(...{parts}.map(e => e.getBoundingClientRect().right))") <= width
    if width < 800:
        page.click("#toggle-filters")
        assert page.js("document.querySelector('#filters').getBoundingClientRect().width") > 200
        page.key("f")
    page.click("#cell-0")
    box = page.js("document.querySelector('#record').getBoundingClientRect().toJSON()")
    assert min(box["left"], box["top"]) >= 0
    assert box["right"] <= width and box["bottom"] <= height


def test_names_stay_text(browser, dataset_dir):
    """Category, prompt, folder and reason hold tags and quotes: none of them becomes a tag."""
    folder = "'\"><img src=x onerror=hacked()>"
    (dataset_dir / "fish").rename(dataset_dir / folder)
    keys = {"type": "text", "category": HOSTILE, "D_good_dir": folder}
    prompts = [
        f"{HOSTILE} '\"`${{hacked()}} & наблюдатель 𝔘",
        f"javascript:hacked() {HOSTILE}",
    ]
    entries = [keys | {"text": prompt} for prompt in prompts]
    (dataset_dir / "dataset.json").write_text(json.dumps({"prompt_dataset": entries}))
    for record in make_samples(dataset_dir, 4):
        path = next(dataset_dir.glob(f"synthesized/*/samples/image_{record.index:06d}.json"))
        hostile = record.to_json() | {"rejected_because": HOSTILE}
        path.write_text(json.dumps(hostile))
    assert view_dataset.main(["--dataset_dir", str(dataset_dir)]) == 0

    page = browser.open(dataset_dir / "gallery" / "index.html")
    page.js("window.hits = 0; window.hacked = () => hits++; localStorage.clear()")
    assert text(page, ".group strong") == HOSTILE
    assert text(page, ".group .prompt") == prompts[0]
    page.click("#cell-3")
    assert HOSTILE in text(page, "#record") and prompts[0] in text(page, "#record")
    page.click("#record .pair")
    assert folder in text(page, "#record h2")
    page.key("Escape")
    page.key("h")
    page.wait("document.querySelector('.card svg')")
    assert text(page, ".card h3") == HOSTILE
    assert page.js("hits") == 0
    assert page.js("[...document.images].every(image => !image.src.endsWith('/x'))")
    assert page.js("document.querySelectorAll('body script, [onerror]').length") == 0
    assert page.complaints() == []
    page.close()


def test_ten_thousand_samples(browser, dataset, tmp_path):
    """Records alone: they point at the pictures of a few."""
    out = tmp_path / "gallery"
    shutil.copytree(dataset / "gallery", out)
    refined = multiply_samples(out, 10_000)
    page = browser.open(out / "index.html")
    assert count(page) == "10000"
    check_box(page, "status", "refined")
    assert count(page) == f"{refined} of 10000"
    page.click("#reset")
    assert page.js("document.querySelectorAll('.cell').length") < 120
    most = page.js(
        "(async () => { const view = document.querySelector('#samples'); let most = 0;"
        "for (let i = 0; i <= 40; i++) { view.scrollTop = view.scrollHeight * i / 40;"
        "await new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)));"
        "most = Math.max(most, document.querySelectorAll('.cell').length); } return most; })()"
    )
    assert most < 120
    assert names(page)[-1] == page.js("state.shown[9999].name")
    last = page.js("document.querySelector('#cell-9999').getBoundingClientRect().bottom")
    assert last <= page.js("document.querySelector('#samples').getBoundingClientRect().bottom")
    page.key("Home")
    assert names(page)[0] == page.js("state.shown[0].name")
    page.close()


def multiply_samples(gallery: Path, total: int) -> int:
    """Rewrite data.js so that it has `total` samples; returns how many of them are refined."""
    lines, refined, entries = [], 0, 3
    for line in (gallery / "data.js").read_text().splitlines():
        if line.startswith("GALLERY.entries.push("):
            entry = json.loads(line.removeprefix("GALLERY.entries.push(").removesuffix(");"))
            few, want = entry["samples"], -(-total // entries)
            total, entries = total - want, entries - 1
            copies = [list(few[i % len(few)]) for i in range(want)]
            for i, row in enumerate(copies):
                row[0] = f"{entry['id']}_{i:06d}"  # pictures still go by the index, in row[1]
            refined += sum(row[3] == "refined" for row in copies)
            line = f"GALLERY.entries.push({json.dumps(entry | {'samples': copies})});"
        lines.append(line)
    (gallery / "data.js").write_text("\n".join(lines))
    return refined


def downloaded(folder: Path) -> Path:
    """The one file of the folder, once it is whole."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        found = [path for path in folder.iterdir() if path.suffix == ".txt"]
        if found and os.path.getsize(found[0]):
            return found[0]
        time.sleep(0.05)
    raise AssertionError("nothing was downloaded")
