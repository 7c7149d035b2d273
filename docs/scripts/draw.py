"""Draw the pictures of the concept pages: `python docs/scripts/draw.py` writes the SVG files in docs/drawings.

Each has a light ground of its own, so that it is legible on a light and on a dark page.
"""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import escape

GROUND, INK, PALE = "#fbfaf6", "#22262b", "#5b626c"
FROZEN, LEARNS, FRESH, WRONG = "#dfe6ee", "#f2a541", "#7fb685", "#d9534f"
STYLE = "font-family:system-ui,sans-serif"


def text(x: float, y: float, words: str, *, size: int = 15, anchor: str = "middle", colour: str = INK) -> str:
    """Words with their baseline at y."""
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, words: str, colour: str, *, size: int = 15) -> str:
    """A rounded box with words in its middle."""
    shape = (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{colour}" stroke="{INK}" '
        'stroke-width="1"/>'
    )
    return shape + text(x + width / 2, y + height / 2 + size / 3, words, size=size)


def arrow(*points: tuple[float, float]) -> str:
    """A line through the points with a head at its end."""
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{INK}" stroke-width="1.5" marker-end="url(#head)"/>'


def key(x: float, y: float, *entries: tuple[str, str]) -> list[str]:
    """What the colours mean, one line each."""
    found = []
    for number, (colour, words) in enumerate(entries):
        top = y + 26 * number
        found += [f'<rect x="{x}" y="{top}" width="18" height="18" rx="4" fill="{colour}" stroke="{INK}"/>']
        found += [text(x + 28, top + 14, words, size=14, anchor="start")]
    return found


def picture(width: int, height: int, title: str, parts: list[str]) -> str:
    """The SVG file: ground, parts, and a title for those who cannot see it."""
    head = (
        f'<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0,0 L10,5 L0,10 z" fill="{INK}"/></marker>'
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" style="{STYLE}" '
        'role="img">',
        f"<title>{escape(title)}</title>",
        f"<defs>{head}</defs>",
        f'<rect width="{width}" height="{height}" rx="10" fill="{GROUND}"/>',
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def methods() -> str:
    """Where each method sits in a block."""
    x, wide, middle = 250, 200, 350
    parts = [
        text(middle, 34, "to the next block", size=14, colour=PALE),
        box(x, 60, wide, 40, "norm", FROZEN),
        box(x, 150, wide, 60, "feed-forward", FROZEN),
        box(x, 290, wide, 40, "norm", FROZEN),
        box(x, 380, wide, 60, "attention", FROZEN),
        text(middle, 500, "from the block before", size=14, colour=PALE),
        arrow((middle, 484), (middle, 442)),
        arrow((middle, 380), (middle, 332)),
        arrow((middle, 290), (middle, 212)),
        arrow((middle, 150), (middle, 102)),
        arrow((middle, 60), (middle, 42)),
        arrow((middle, 462), (x - 20, 462), (x - 20, 356), (middle - 2, 356)),
        arrow((middle, 250), (x - 20, 250), (x - 20, 126), (middle - 2, 126)),
    ]
    right = [
        (80, "layernorm", "scale and shift of the norm", x + wide),
        (136, "bottleneck (pfeiffer)", "behind the feed-forward", middle),
        (180, "lora, dora, ia3, bitfit", "on its projections", x + wide),
        (310, "layernorm", "", x + wide),
        (366, "bottleneck (houlsby)", "behind the attention, too", middle),
        (410, "lora, dora, ia3, bitfit", "on its projections", x + wide),
    ]
    for y, name, where, start in right:
        parts += [
            f'<line x1="{start}" y1="{y}" x2="500" y2="{y}" stroke="{LEARNS}" stroke-width="2"/>',
            f'<circle cx="{start}" cy="{y}" r="6" fill="{LEARNS}" stroke="{INK}"/>',
            text(508, y + 5 - (8 if where else 0), name, anchor="start"),
            text(508, y + 15, where, size=13, anchor="start", colour=PALE) if where else "",
        ]
    left = [
        (180, x, "parallel", "beside the feed-forward"),
        (410, x, "prefix", "keys and values inside"),
        (474, middle, "prompt", "among the embeddings,"),
    ]
    for y, end, name, where in left:
        parts += [
            f'<line x1="200" y1="{y}" x2="{end}" y2="{y}" stroke="{LEARNS}" stroke-width="2"/>',
            f'<circle cx="{end}" cy="{y}" r="6" fill="{LEARNS}" stroke="{INK}"/>',
            text(192, y - 3, name, anchor="end"),
            text(192, y + 15, where, size=13, anchor="end", colour=PALE),
        ]
    parts += [text(192, 506, "below the first block", size=13, anchor="end", colour=PALE)]
    parts += key(20, 24, (FROZEN, "frozen"), (LEARNS, "learns"))
    return picture(720, 524, "Where each method sits in a block of a transformer", list(filter(None, parts)))


def frozen() -> str:
    """What learns under lora, layers="last:2", probe and full."""
    parts, blocks = [], 6
    columns = [("lora", range(6), False), ('lora, layers="last:2"', range(4, 6), False), ("probe", (), False)]
    columns += [("full", range(6), True)]
    for number, (name, adapted, whole) in enumerate(columns):
        x = 20 + 175 * number
        parts += [text(x + 75, 34, name), box(x, 54, 150, 34, "head", FRESH)]
        for block in range(blocks):
            y = 54 + 46 * (blocks - block)
            parts += [box(x, y, 150, 34, f"block {block}", LEARNS if whole else FROZEN)]
            if block in adapted and not whole:
                parts += [f'<rect x="{x + 118}" y="{y + 6}" width="24" height="22" rx="4" fill="{LEARNS}"/>']
        parts += [box(x, 54 + 46 * 7, 150, 34, "embeddings", LEARNS if whole else FROZEN)]
    parts += key(30, 424, (FROZEN, "frozen: never changes"), (LEARNS, "learns"))
    parts += key(400, 424, (FRESH, "the head: fresh, and always learns"))
    return picture(720, 490, "What is frozen and what learns, for four choices", parts)


def head() -> str:
    """A checkpoint, and the model for a task that is made of it."""
    parts = [
        text(150, 34, "the checkpoint"),
        box(40, 60, 220, 44, "head of pretraining", FROZEN),
        box(40, 116, 220, 150, "blocks", FROZEN),
        box(40, 278, 220, 44, "embeddings", FROZEN),
        text(560, 34, "the model for your task"),
        box(450, 60, 220, 44, "head: 10 labels, random", FRESH),
        box(450, 116, 220, 150, "blocks + adapter", FROZEN),
        f'<rect x="634" y="126" width="26" height="130" rx="4" fill="{LEARNS}"/>',
        box(450, 278, 220, 44, "embeddings", FROZEN),
        arrow((264, 191), (446, 191)),
        text(355, 182, "kept", size=14),
        arrow((264, 300), (446, 300)),
        text(355, 291, "kept", size=14),
        f'<line x1="264" y1="82" x2="330" y2="82" stroke="{WRONG}" stroke-width="2"/>',
        text(355, 88, "left out", size=14, colour=WRONG),
    ]
    parts += key(40, 350, (FROZEN, "pretrained"), (FRESH, "drawn at random, learns from nothing"))
    parts += key(450, 350, (LEARNS, "inserted, learns"))
    return picture(720, 420, "A fresh head on a pretrained backbone", parts)


SENTENCES: list[tuple[list[tuple[str, str]], dict[int, str]]] = [
    ([("Ada", "B-PER"), ("met", "O"), ("Rosalind", "B-PER"), ("Okafor", "I-PER"), ("in", "O"), ("Lima", "B-LOC")], {}),
    ([("Tallinn", "B-LOC"), ("is", "O"), ("far", "O"), ("from", "O"), ("Cape", "B-LOC"), ("Town", "I-LOC")], {5: "O"}),
    (
        [
            ("Ann", "B-PER"),
            ("sent", "O"),
            ("a", "O"),
            ("parcel", "O"),
            ("to", "O"),
            ("Maria", "B-PER"),
            ("Berg", "I-PER"),
        ],
        {},
    ),
    ([("It", "O"), ("left", "O"), ("Oslo", "B-LOC"), ("for", "O"), ("Rome", "B-LOC"), ("on", "O"), ("time", "O")], {}),
    (
        [
            ("Where", "O"),
            ("does", "O"),
            ("it", "O"),
            ("go", "O"),
            ("after", "O"),
            ("that", "O"),
            ("Ada", "B-PER"),
            ("?", "O"),
        ],
        {},
    ),
]
"""Sentences as words with their tags, and what a model says otherwise, by the place of the word."""


def tags() -> tuple[list[list[str]], list[list[str]]]:
    """The true and the predicted tags of the sentences."""
    true = [[tag for _, tag in words] for words, _ in SENTENCES]
    said = [[wrong.get(place, tag) for place, (_, tag) in enumerate(words)] for words, wrong in SENTENCES]
    return true, said


def scores() -> tuple[float, float]:
    """The share of right tokens, and the F1 of whole entities."""
    from lightadapt.data.spans import read_tags
    from lightadapt.metrics import entity_scores

    true, said = tags()
    pairs = [pair for mine, theirs in zip(true, said, strict=True) for pair in zip(mine, theirs, strict=True)]
    found, _ = entity_scores(list(map(read_tags, true)), list(map(read_tags, said)))
    return sum(one == other for one, other in pairs) / len(pairs), found["f1"]


def entities() -> str:
    """Why a token accuracy of 97 % is an entity F1 of 90 %."""
    parts = []
    for row, (words, wrong) in enumerate(SENTENCES):
        x, y = 20.0, 20 + 74 * row
        for place, (word, tag) in enumerate(words):
            wide = 22 + 8.4 * len(word)
            colour = WRONG if place in wrong else FRESH if tag != "O" else FROZEN
            parts += [box(x, y, wide, 34, word, colour)]
            shown = f"says {wrong[place]}" if place in wrong else tag
            parts += [text(x + wide / 2, y + 52, shown, size=12, colour=WRONG if place in wrong else PALE)]
            x += wide + (4 if place + 1 < len(words) and words[place + 1][1].startswith("I-") else 16)
    accuracy, f1 = scores()
    tokens, total = sum(len(words) for words, _ in SENTENCES), sum(tag[0] == "B" for mine in tags()[0] for tag in mine)
    lines = [
        f"tokens: {accuracy * tokens:.0f} of {tokens} are right, an accuracy of {accuracy:.1%}",
        f"entities: {f1 * total:.0f} of {total} are right, an F1 of {f1:.1%}",
        "A model that answers O everywhere has an accuracy of "
        f"{sum(tag == 'O' for mine in tags()[0] for tag in mine) / tokens:.1%}, and an F1 of 0.",
    ]
    parts += [text(20, 416 + 26 * number, line, anchor="start") for number, line in enumerate(lines)]
    return picture(720, 490, "Right tokens and right entities of five sentences", parts)


HOUSE = (
    (("cli", "the commands"), ("experiments/", "compare; jobs"), ("serving/", "HTTP"), ("demo", "")),
    (("api · adapted", "adapt, load, and the object that they return"),),
    (("labelling/", "what to label next, and which labels are wrong"),),
    (("training/", "fit: checks, run, trainer, caches"), ("export/", "one file a format, and its proof")),
    (("runtime/", "an exported model without torch"), ("stream/", "drift; texts of no class")),
    (("adaptation/", "assembly, what is inserted, what runs it, the artifact"),),
    (("zero_shot/", "what answers before anything was learned"),),
    (("base/", "source, blueprint, weights, memory"), ("evaluation/", "what evaluate returns")),
    (("methods/", "one file a method"), ("tasks/", "one file a task; encoding, decoding, losses")),
    (("tuners/", "PEFT tuners of our own"),),
    (("peft_bridge/", "reaches into PEFT"), ("heads/", "outputs, task models"), ("metrics/", "scores")),
    (("anatomy/", "what a model is made of"), ("data/", "records in; spans; sequences in a file")),
    (
        ("machine/", "device, silence"),
        ("display/", "figures, HTML"),
        ("sample/", "messages"),
        ("suggestions/", "names"),
    ),
    (("errors · numbers · registry", "what goes wrong, in words; who is known by which name"),),
)
"""The rooms of the package, the highest first, each with what is in it."""


def house() -> str:
    """The rooms of the package; each imports from those below it only."""
    parts, gap, wide, high = [], 10, 680, 46
    for row, rooms in enumerate(HOUSE):
        width = (wide - gap * (len(rooms) - 1)) / len(rooms)
        for place, (name, what) in enumerate(rooms):
            x, y = 20 + place * (width + gap), 20 + row * (high + gap)
            parts += [box(x, y, width, high, "", FROZEN)]
            parts += [text(x + width / 2, y + (20 if what else 28), name), text(x + width / 2, y + 37, what, size=12)]
    return picture(720, 30 + len(HOUSE) * (high + gap), "The rooms of the package, the highest first", parts)


DRAWINGS = {"methods": methods, "frozen": frozen, "head": head, "entities": entities, "house": house}


if __name__ == "__main__":
    for name, draw in DRAWINGS.items():
        (Path(__file__).parents[1] / "drawings" / f"{name}.svg").write_text(draw(), encoding="utf-8")
