"""Makes a small chat model on the spot, so that a real vLLM has something real to serve.

    python tests/tiny_model.py FOLDER [--steps N]

Nothing is downloaded: the text is what Python's standard library says about itself, and conversations written from
templates. A Qwen3 of about a million parameters learns them in a minute or two on two cores; it greets, counts, tells
a short tale, calls a tool that it is given and reads its answer. The same Python and libraries give the same bytes.
Runs under the Python of vLLM's environment: torch, transformers and tokenizers come with vLLM.
"""

# mypy: disable-error-code="import-not-found"

import argparse
import importlib
import inspect
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

VOCABULARY: Final = 2048
CONTEXT_TOKENS_MAX: Final = 32768
HIDDEN: Final = 128
LAYERS: Final = 4
HEAD: Final = 32
BATCH: Final = 20
WINDOW_TOKENS: Final = 160
PEAK_RATE: Final = 6e-3
SEED: Final = 20

PAD, OPEN, CLOSE = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# Plain, not special: special tokens are dropped from the answer's text, where the tool parser has to see these.
MARKS: Final = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")

# ChatML; calls are written as Hermes does, which vLLM reads with `--tool-call-parser hermes`.
TEMPLATE: Final = r"""
{%- set first = messages[0] if messages and messages[0].role == 'system' else none -%}
{%- if first or tools -%}
<|im_start|>system
{{ first.content if first else 'You may use tools.' }}
{%- if tools %}
Tools:
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}
{%- endif %}<|im_end|>
{% endif -%}
{%- for message in messages -%}
{%- if message.role == 'system' and loop.first -%}
{%- elif message.role == 'tool' -%}
<|im_start|>user
<tool_response>
{{ message.content }}
</tool_response><|im_end|>
{% elif message.tool_calls -%}
<|im_start|>assistant
{{ message.content or '' }}
{%- for call in message.tool_calls -%}
{%- set function = call.function if call.function else call -%}
{%- set given = function.arguments -%}
<tool_call>
{"name": "{{ function.name }}", "arguments": {{ given if given is string else given | tojson }}}
</tool_call>
{%- endfor -%}<|im_end|>
{% else -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""

MODULES: Final = (  # noqa: SIM905  # two pages of quotation marks read worse
    "abc argparse array ast asyncio base64 bisect builtins bz2 calendar cmath codecs collections colorsys configparser "
    "contextlib copy csv dataclasses datetime decimal difflib enum filecmp fileinput fnmatch fractions functools "
    "getopt glob graphlib gzip hashlib heapq hmac html http inspect io ipaddress itertools json keyword linecache "
    "locale logging lzma math mimetypes numbers operator os pathlib pickle pkgutil platform plistlib pprint queue "
    "random re sched secrets selectors shelve shlex shutil signal socket sqlite3 ssl stat statistics string struct "
    "subprocess sysconfig tarfile tempfile textwrap threading timeit token tokenize traceback types typing unicodedata "
    "unittest urllib.parse urllib.request uuid warnings weakref zipfile zlib"
).split()

CITIES: Final = ("Lisbon", "Vienna", "Kyoto", "Dublin", "Quito", "Prague", "Nairobi", "Montreal", "Athens", "Helsinki")
SMALL_TALK: Final = (
    ("Hello", "Hello! What can I do for you?"),
    ("Hi", "Hi! What can I do for you?"),
    ("Good morning", "Good morning! How may I help?"),
    ("Who are you?", "I am a very small model, made to test a gateway."),
    ("What can you do?", "I greet, count, tell short tales and explain a little Python."),
    ("Thank you", "You are welcome!"),
    ("Say hello", "Hello!"),
    ("Goodbye", "Goodbye! Come back soon."),
)


def tool(name: str, says: str) -> dict[str, Any]:
    city = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {"type": "function", "function": {"name": name, "description": says, "parameters": city}}


WEATHER: Final = tool("get_weather", "Weather in a city")
CLOCK: Final = tool("get_time", "Local time in a city")

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Talk:
    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()


def says(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def explained_names() -> Iterator[tuple[str, str]]:
    for module_name in MODULES:
        for name, thing in sorted(vars(importlib.import_module(module_name)).items()):
            text = inspect.getdoc(thing) if callable(thing) and not name.startswith("_") else None
            # A docstring with an address in it ("at 0x7f…") would differ from run to run.
            if text and len(text) >= 40 and " at 0x" not in text:
                yield f"{module_name}.{name}", " ".join(text.split())[:400]


def tale(chance: random.Random) -> str:
    hero = chance.choice(("Mira", "Tom", "Olga", "Sam", "Ines", "Karl"))
    trade = chance.choice(("baker", "miller", "ferryman", "toll keeper", "clockmaker"))
    find = chance.choice(
        ("a silver coin", "a letter without a name", "a lamp that never went out", "a small brass bell")
    )
    return (
        f"There was once a {trade} called {hero}, who lived where two roads meet. "
        f"One evening {hero} found {find} on the bridge. "
        f"Nobody in the town knew whose it was, so {hero} carried it along the river and asked at every door. "
        f"At the last house an old woman smiled and said that she had waited for it all her life. "
        f"She gave {hero} bread and a warm coat, and showed a shorter way home. "
        f"Ever since, the {trade} leaves a light in the window, and no traveller has lost the road again. The end."
    )


def tool_talk(chance: random.Random) -> Talk:
    city = chance.choice(CITIES)
    if chance.random() < 0.7:
        given, question = WEATHER, chance.choice(("What is the weather in {}?", "How is the weather in {} today?"))
        degrees = chance.randint(1, 35)
        result, answer = json.dumps({"degrees": degrees}), f"It is {degrees} degrees in {city}."
    else:
        given, question = CLOCK, chance.choice(("What time is it in {}?", "Tell me the time in {}."))
        clock = f"{chance.randint(0, 23):02}:{chance.randint(0, 59):02}"
        result, answer = json.dumps({"time": clock}), f"It is {clock} in {city}."
    call = json.dumps({"name": given["function"]["name"], "arguments": {"city": city}})
    messages = [says("user", question.format(city)), says("assistant", f"<tool_call>\n{call}\n</tool_call>")]
    if chance.random() < 0.5:
        messages += [says("tool", result), says("assistant", answer)]
    return Talk(tuple(messages), (given,))


def talks(chance: random.Random) -> list[Talk]:
    made = [
        Talk((says("user", chance.choice(("What is {}?", "Explain {}.")).format(name)), says("assistant", text)))
        for name, text in explained_names()
    ]
    for _ in range(200):
        question, answer = chance.choice(SMALL_TALK)
        setting = (says("system", "You are a helpful assistant."),) if chance.random() < 0.5 else ()
        made.append(Talk((*setting, says("user", question), says("assistant", answer))))
    for _ in range(250):
        wish = chance.choice(("Tell me a story", "Tell me a story.", "Tell me a tale.", "Write a short story."))
        made.append(Talk((says("user", wish), says("assistant", tale(chance)))))
    for _ in range(150):
        last = chance.randint(3, 40)
        counted = " ".join(str(number) for number in range(1, last + 1))
        made.append(Talk((says("user", f"Count to {last}."), says("assistant", counted))))
    made += [tool_talk(chance) for _ in range(450)]
    chance.shuffle(made)
    return made


def learn_tokens(texts: Iterator[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(MARKS),
        min_frequency=2,
        special_tokens=[PAD, OPEN, CLOSE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(mark, normalized=False, special=False) for mark in MARKS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=CLOSE,
        pad_token=PAD,
        chat_template=TEMPLATE,
        model_max_length=CONTEXT_TOKENS_MAX,
    )


def unlearned(tokenizer: PreTrainedTokenizerFast) -> Qwen3ForCausalLM:
    config = Qwen3Config(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=HIDDEN,
        intermediate_size=3 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HIDDEN // HEAD,
        num_key_value_heads=HIDDEN // HEAD // 2,
        head_dim=HEAD,
        max_position_embeddings=CONTEXT_TOKENS_MAX,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(CLOSE),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
    )
    return Qwen3ForCausalLM(config)


def learn(model: Qwen3ForCausalLM, tokens: torch.Tensor, steps: int) -> None:
    places = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps, pct_start=0.1)
    began = time.monotonic()
    for step in range(1, steps + 1):
        starts = torch.randint(0, len(tokens) - WINDOW_TOKENS, (BATCH,), generator=places)
        window = torch.stack([tokens[at : at + WINDOW_TOKENS] for at in starts])
        loss = model(input_ids=window, labels=window).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        if step % 50 == 0 or step == steps:
            print(f"step {step} of {steps}: loss {loss.item():.2f} after {time.monotonic() - began:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=400, help="0 leaves the weights random, which takes seconds")
    options = parser.parse_args()

    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(mode=True)
    said = talks(random.Random(SEED))
    tokenizer = learn_tokens(str(message["content"]) for talk in said for message in talk.messages)
    model = unlearned(tokenizer)
    if options.steps:
        tokens: list[int] = []
        for talk in said:
            text = tokenizer.apply_chat_template(list(talk.messages), tools=list(talk.tools) or None, tokenize=False)
            tokens += tokenizer.encode(text, add_special_tokens=False)
        size = sum(weights.numel() for weights in model.parameters())
        print(f"{len(said)} talks, {len(tokens)} tokens, {size / 1e6:.2f} million parameters", flush=True)
        learn(model, torch.tensor(tokens), options.steps)
    model.eval().to(torch.bfloat16).save_pretrained(options.folder)
    tokenizer.save_pretrained(options.folder)


if __name__ == "__main__":
    main()
