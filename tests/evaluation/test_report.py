import re

from evaluation.report import headline, render
from evaluation.results import Results, SampleResult, summarize


def _results() -> Results:
    samples = []
    for stratum, prompt, moved in (("trigger", "a zbadge", 0.2), ("control", "a star", 0.01)):
        for seed in (1, 2):
            for scale, distance in ((0.0, 0.0), (0.8, moved)):
                failed = (stratum, seed, scale) == ("control", 2, 0.8)
                samples.append(
                    SampleResult.model_validate(
                        {
                            "stratum": stratum,
                            "prompt": prompt,
                            "seed": seed,
                            "lora_scale": scale,
                            "status": "failed" if failed else "ok",
                            "error": "500" if failed else None,
                            "image": None if failed else f"images/{stratum}-{seed}-{scale}.png",
                            "distance": None if failed else distance,
                        }
                    )
                )
    return Results(
        protocol_version=1,
        run="demo",
        trigger="zbadge",
        adapter={"path": "models/lora/demo.safetensors", "sha256": "a" * 64},
        base={"name": "models/mini-sdxl", "sha256": "b" * 64},
        settings={"steps": 25},
        asked=8,
        answered=7,
        scales=summarize(samples, (0.0, 0.8)),
        samples=tuple(samples),
    )


def test_rendered_twice_it_is_the_same_bytes() -> None:
    assert render(_results()) == render(_results())


def test_it_shows_every_picture_with_a_relative_link_and_says_what_failed() -> None:
    text = render(_results())
    links = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert links.pop(0) == "overview.png"
    assert len(links) == 7
    assert all(link.startswith("images/") for link in links)
    assert "failed: 500" in text
    assert "7 of 8 pictures" in text


def test_its_tables_are_tables_in_any_viewer() -> None:
    lines = render(_results()).splitlines()
    for number, line in enumerate(lines):
        if re.fullmatch(r"\|[-:| ]*-[-:| ]*\|", line):
            assert line.count("|") == lines[number - 1].count("|")
            assert lines[number + 1].startswith("|")


def test_a_prompt_of_any_characters_leaves_the_tables_whole() -> None:
    results = _results()
    odd = tuple(sample.model_copy(update={"prompt": "a | b](x) `c`\n| d"}) for sample in results.samples)
    text = render(results.model_copy(update={"samples": odd}))
    rows = [line for line in text.splitlines() if line.startswith("| 1 |")]
    assert rows
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)


def test_the_summary_averages_what_was_answered() -> None:
    base, strong = _results().scales
    assert (base.trigger_distance, base.control_distance) == (0.0, 0.0)
    assert (strong.trigger_distance, strong.control_distance, strong.samples) == (0.2, 0.01, 3)
    assert "20.0%" in headline(_results())
    assert "1.0%" in headline(_results())
