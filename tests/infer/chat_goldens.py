#!/usr/bin/env python3
"""What transformers' apply_chat_template() makes of conversations.json with published templates.

    tests/infer/chat_goldens.py GOLDENS TEMPLATES...            writes GOLDENS
    tests/infer/chat_goldens.py GOLDENS TEMPLATES... --check    compares, "ok" or "FAILED" lines

TEMPLATES: folders of *.jinja files, tokenizer_config.json files, maybe .zst, and "trl" for the folder
of that package, if it is installed.
They are other people's texts, so only their length and FNV-1a are kept, in known_chats.txt, which
says where each is from; other files are passed over.  A line of GOLDENS: the text's number in
known_chats.txt, the conversation's, with generation prompt, then "error", or length and FNV-1a."""

import glob
import importlib.util
import json
import os
import sys

import zstandard
from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

HERE = os.path.dirname(os.path.abspath(__file__))
DATE = "26 Jul 2024"


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def known():
    with open(os.path.join(HERE, "known_chats.txt"), encoding="utf-8") as lines:
        for line in lines:
            if not line.startswith("#"):
                length, hashed, name, source = line.rstrip("\n").split(" ", 3)
                yield (int(length), hashed), name, source


def trl():
    spec = importlib.util.find_spec("trl")
    places = spec.submodule_search_locations if spec else []
    return [os.path.join(place, "chat_templates") for place in places]


def texts(paths):
    paths = [place for path in paths for place in (trl() if path == "trl" else [path])]
    for path in paths:
        if os.path.isdir(path):
            for name in sorted(glob.glob(os.path.join(path, "*.jinja"))):
                with open(name, encoding="utf-8") as file:
                    yield os.path.basename(name), file.read()
        elif not os.path.exists(path):
            continue
        elif path.endswith(".zst"):
            with open(path, "rb") as file:
                unpacked = zstandard.ZstdDecompressor().stream_reader(file).read()
            yield os.path.basename(path), json.loads(unpacked)["chat_template"]
        else:
            with open(path, encoding="utf-8") as file:
                yield os.path.basename(path), json.load(file)["chat_template"]


def key(text):
    data = text.removesuffix("\n").encode()
    return len(data), fnv(data)


def conversations():
    with open(os.path.join(HERE, "conversations.json"), encoding="utf-8") as file:
        for conversation in json.load(file)["conversations"]:
            yield [{"role": role, "content": content} for role, content in conversation]


def render(template, conversation, prompt):
    try:
        made, _ = render_jinja_template(
            conversations=[conversation], chat_template=template, add_generation_prompt=prompt,
            bos_token="<BOS>", eos_token="<EOS>", date_string=DATE)
    except (TemplateError, TypeError):
        return "error"
    data = made[0].encode()
    return f"{len(data)} {fnv(data)}"


def lines(number, template):
    for i, conversation in enumerate(conversations()):
        for prompt in (False, True):
            yield f"{number} {i} {int(prompt)} {render(template, conversation, prompt)}\n"


def main():
    check = "--check" in sys.argv
    golden, *paths = [word for word in sys.argv[1:] if word != "--check"]
    numbers = {entry: number for number, (entry, _, _) in enumerate(known())}
    found, failed, had = {}, False, {}
    for name, text in texts(paths):
        if key(text) in numbers:
            found[numbers[key(text)]] = (name, text)
    if check:
        with open(golden, encoding="ascii") as file:
            for line in file:
                had.setdefault(int(line.split()[0]), []).append(line)
        for number, (name, text) in sorted(found.items()):
            same = list(lines(number, text)) == had.get(number)
            failed = failed or not same
            print("ok" if same else "FAILED", f"chat goldens {name}: number {number}")
        missing = len(numbers) - len(found)
        if missing:
            print(f"skipped: chat goldens of {missing} templates whose texts are not here")
        sys.exit(1 if failed else 0)
    with open(golden, "w", encoding="ascii") as out:
        for number, (_, text) in sorted(found.items()):
            out.writelines(lines(number, text))


main()
