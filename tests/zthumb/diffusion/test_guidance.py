import torch

from zthumb.diffusion.guidance import Guidance, GuidanceBeyondPrompt, compose


def test_guidance_leads_away_from_the_prediction_without_a_prompt() -> None:
    without, with_prompt = torch.tensor([1.0]), torch.tensor([2.0])

    assert Guidance(1.0).combine(without, with_prompt).tolist() == [2.0]
    assert Guidance(5.0).combine(without, with_prompt).tolist() == [6.0]
    assert [Guidance(scale).is_used for scale in (0.0, 1.0, 1.5)] == [False, False, True]


def test_guidance_beyond_the_prompt_is_one_less_than_elsewhere() -> None:
    without, with_prompt = torch.tensor([1.0]), torch.tensor([2.0])

    assert GuidanceBeyondPrompt(4.0).combine(without, with_prompt).tolist() == [6.0]
    assert [GuidanceBeyondPrompt(scale).is_used for scale in (0.0, 0.5)] == [False, True]


def test_parts_of_a_prompt_add_what_each_changes() -> None:
    without = torch.tensor([1.0])

    assert compose(without, [(torch.tensor([3.0]), 1.0)]).tolist() == [3.0]
    assert compose(without, [(torch.tensor([3.0]), 0.5), (torch.tensor([0.0]), 2.0)]).tolist() == [0.0]
