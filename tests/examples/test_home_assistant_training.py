"""The training side: quantisers, packing of rows, chat format, schedule and the packed export."""

from itertools import islice

import numpy as np
import pytest
import torch
from corpus import Example, examples
from export import pack_trits
from training.dataset import ANSWER_WEIGHT, ChatEncoder, Document, lay_out, pack
from training.model import BitNet, ModelSize, quantize_activations, quantize_weight
from training.schedule import Schedule
from training.scoring import as_tensors, exact_match
from training.tokenizer import BOS, EOT, train_tokenizer

SMALL = ModelSize(hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)


@pytest.fixture(scope="module")
def encoder() -> ChatEncoder:
    sample = islice(examples("train", 1), 1500)
    return ChatEncoder(train_tokenizer((f"User: {e.prompt} {e.answer}" for e in sample), 600))


def test_activation_codes_follow_the_engine_contract() -> None:
    x = torch.randn(5, 64)
    codes, scale = quantize_activations(x)
    expected_scale = 127 * (1 / x.abs().amax(-1, keepdim=True))
    assert torch.equal(scale, expected_scale)
    assert torch.allclose(codes, (x * expected_scale).round(), atol=1e-5)
    assert codes.abs().max().round() == 127


def test_ternary_weights_follow_absmean() -> None:
    weight = torch.randn(16, 64)
    trits, multiplier = quantize_weight(weight)
    assert multiplier == weight.abs().mean()
    assert set(trits.round().unique().tolist()) == {-1.0, 0.0, 1.0}


def test_rounding_passes_gradients_straight_through() -> None:
    weight = torch.randn(8, 8, requires_grad=True)
    trits, multiplier = quantize_weight(weight)
    (trits * multiplier).sum().backward()
    assert weight.grad is not None
    assert torch.allclose(weight.grad, torch.ones(8, 8))


def test_packed_bytes_hold_one_row_of_each_quarter() -> None:
    trits = torch.randint(-1, 2, (12, 5))
    packed = pack_trits(trits.float())
    unpacked = torch.cat([(packed >> 2 * quarter & 3).int() - 1 for quarter in range(4)])
    assert torch.equal(unpacked, trits.int())


def test_a_row_count_that_is_no_multiple_of_four_is_refused() -> None:
    with pytest.raises(ValueError, match="6 rows"):
        pack_trits(torch.zeros(6, 4))


def test_digits_are_never_merged(encoder: ChatEncoder) -> None:
    sample = islice(examples("train", 1), 1500)
    tokenizer = train_tokenizer((f"User: {e.prompt} {e.answer}" for e in sample), 600)
    merged = [token for token in tokenizer.get_vocab() if sum(c.isdigit() for c in token) > 1]
    assert merged == []


def test_a_prompt_is_encoded_piece_by_piece(encoder: ChatEncoder) -> None:
    tokenizer = encoder._tokenizer
    ids = encoder.prompt("  turn on the light ")
    assert tokenizer.decode(ids, skip_special_tokens=False) == f"{BOS}User: turn on the light{EOT}Assistant: "
    assert ids[0] == encoder.bos
    assert ids.count(encoder.bos) == 1


def test_only_answers_weigh_fully(encoder: ChatEncoder) -> None:
    [document] = encoder.single([Example("hi there", "Hello!", "small talk")])
    answer = document.ids[document.weights == ANSWER_WEIGHT].tolist()
    assert answer[-1] == encoder.eot
    assert encoder._tokenizer.decode(answer) == "Hello!"


def test_packed_rows_hold_whole_documents(encoder: ChatEncoder) -> None:
    documents = encoder.documents(islice(examples("train", 1), 800), seed=0)
    rows = pack(documents, row_length=96, row_count=100)
    assert rows.ids.shape == (100, 96)
    assert rows.tokens > 0.9 * rows.ids.size
    starts = (rows.ids == encoder.bos) & (rows.documents >= 0)
    assert np.array_equal(starts.sum(1), rows.documents.max(1) + 1)
    assert not rows.weights[starts].any()
    assert not rows.weights[rows.documents < 0].any()


def test_packing_needs_enough_documents() -> None:
    document = Document(np.zeros(5, np.int16), np.zeros(5, np.float32))
    with pytest.raises(ValueError, match="expected 3"):
        pack([document], row_length=8, row_count=3)


def test_documents_of_a_row_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    model = BitNet(SMALL)
    ids = torch.randint(0, SMALL.vocab_size, (1, 12))
    documents = torch.tensor([[0] * 6 + [1] * 6])
    changed = ids.clone()
    changed[0, :6] = torch.randint(0, SMALL.vocab_size, (6,))
    with torch.no_grad():
        assert torch.equal(model(ids, documents)[0, 6:], model(changed, documents)[0, 6:])


def test_exact_match_counts_whole_answers() -> None:
    torch.manual_seed(0)
    model = BitNet(SMALL)
    ids = np.array([1, 2, 3, 4], np.int16)
    document = Document(ids, np.array([0, 0.1, 1, 1], np.float32))
    tokens, numbers, _ = as_tensors(lay_out([[document]], 4), slice(None))
    with torch.no_grad():
        predicted = model(tokens, numbers)[0].argmax(-1).tolist()
    right = Document(np.array([1, 2, predicted[1], 4], np.int16), np.array([0, 0.1, 1, 0], np.float32))
    assert exact_match(model, [right]) == 1.0
    wrong_id = (predicted[1] + 1) % SMALL.vocab_size
    wrong = Document(np.array([1, 2, wrong_id, 4], np.int16), np.array([0, 0.1, 1, 0], np.float32))
    assert exact_match(model, [right, wrong]) == 0.5


def test_the_schedule_has_two_stages() -> None:
    schedule = Schedule(steps=1000, stage_two_start=500, warmup_steps=100)
    assert schedule.learning_rate(0) < schedule.learning_rate(99)
    assert schedule.learning_rate(499) == pytest.approx(schedule.stage_one_end, rel=0.01)
    assert schedule.learning_rate(500) == schedule.stage_two_peak
    assert schedule.learning_rate(999) < 0.01 * schedule.stage_two_peak
    assert [schedule.weight_decay(step) for step in (499, 500)] == [0.1, 0.0]
