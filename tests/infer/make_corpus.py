#!/usr/bin/env python3
"""Writes corpus.txt: texts that tokenizers get wrong, then random ones of the same parts.

    tests/infer/make_corpus.py >tests/infer/corpus.txt

One text a line, as parts behind each other, each hexadecimal or TIMES*HEX.  Valid UTF-8 only."""

import random

TEXTS = [
    [(1, "Hello world")],
    [(1, " Hello  World ")],
    [(1, " ")],
    [(1, "  ")],
    [(1, "\n")],
    [(1, "\t\n")],
    [(1, "Äpfel: 4 ½ Monate")],
    [(1, "1 22 333 4444 55555 1234567890123456789012345678901234567890")],
    [(1, "one\r\ntwo\r\n\r\n  three\r\n\r")],
    [(1, "trailing   ")],
    [(1, "   leading")],
    [(1, "ひらがな カタカナ 日本語の文章。 你好，世界！ 한국어 텍스트")],
    [(1, "👨‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇫🇷 ☕️")],
    [(1, "e\u0301 é a\u0327\u0301\u0300 \u1100\u1161\u11a8 \u212b \ufb01 \u01c6 \u0345\u0301 \u0958")],
    [(1, "def f(x):\n    return x**2  # a comment\n\tif x != y:\n\t\tpass\n\n\n")],
    [(1, "I'm you're he'll she'd we've it's DON'T 'S 'RE x'ſ don’t")],
    [(1, "<s>hello</s> <unk> <|im_start|>user\n<|endoftext|> <|eot_id|><|begin_of_text|>x")],
    [(1, "  <s>  </s>  a <unk>b <<s>> </s <s")],
    [(1, "<|im_start|>assistant\n<think>\n\n</think>\n\nyes<|im_end|>\n")],
    [(1, "\0\1\0 nul \x7f\x1b[0m")],
    [(1, "a\u180eb\u00a0c\u2003d\u2028e\u2029f\u0085g\u200bh\ufeffi\u3000 j")],
    [(1, "٣٤٥ ⅷ Ⅻ ①② ½¼ ２３ 四十二 ௧௨")],
    [(1, "नमस्ते दुनिया สวัสดีชาวโลก مرحبا بالعالم שלום")],
    [(1, "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐐷𐐨 🜁 \U0010ffff \ue000 \u0378")],
    [(1, "▁hello ▁▁ world▁ _x_")],
    [(1, "--- === *** ;;;; ((( /// ... !?!? ``` {{{ ~~~")],
    [(1, "https://example.com/a/path?x=1&y=%20#part")],
    [(1, '{"a": [1, 2.5e-3, null], "b": "\\n\\\\"}')],
    [(1, "\r \r\n \n\r\n\n \t \n x")],
    [(1, "İıẞßſKÅ ǅungla camelCaseWORDSHere ALLCAPS")],
    [(1, "<0x0A><0x00>")],
    [(1, "[A][B][C] word[B]word [B] [A]  \n[C]x")],
    [(1, "word[D]word [D] [D], \t[E]\n [E]")],
    [(1, "supercalifragilisticexpialidocious antidisestablishmentarianism")],
    [(1, "Zażółć gęślą jaźń. Příliš žluťoučký kůň. Γειά σου Κόσμε. Привет, мир!")],
    [(100000, "a")],
    [(100000, " ")],
    [(20000, "\n")],
    [(3000, "x ")],
    [(50000, " "), (1, "x")],
    [(20000, "ab"), (1, "\n"), (20000, "é")],
    [(5000, "日本")],
    [(4000, "1234567")],
    [(2000, "a\u0300\u0327")],
    [(1, "e"), (3000, "\u0301\u0327")],
    [(3000, "👍🏽\u200d")],
    [(5000, "<|"), (1, "|>")],
    [(3000, "\r\n \t")],
    [(10000, "!?")],
    [(10000, "it's ")],
]

PARTS = ["a", "b", "Z", "the", "ing", " ", "  ", "\n", "\r\n", "\t", "1", "99", "é", "e\u0301", "日",
         "👍", "🏽", "\u200d", "'s", "'LL", "_", "-", "▁", "<s>", "<|im_end|>", "\u00a0", "ß",
         "\ufffd", "\u0327", "<unk>", ".", "한", "\u1161", "\u0345", "[A]", "[B]", "[D]", "/", "٣"]


def main():
    print("# Made by make_corpus.py: one text a line, parts behind each other: HEX or TIMES*HEX.")
    pick = random.Random(5)
    texts = list(TEXTS)
    for _ in range(100):
        text = "".join(pick.choice(PARTS) for _ in range(pick.randint(1, 60)))
        texts.append([(1, text)])
    for text in texts:
        print(" ".join(("" if n == 1 else f"{n}*") + part.encode().hex() for n, part in text))


main()
