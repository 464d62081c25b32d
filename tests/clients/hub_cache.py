"""Looks, offline, for what `weir fetch --hf-cache` wrote, with the programs that look there.

    hub_cache.py REPOSITORY ORIGINAL COMMIT [--load]

HF_HOME and HF_HUB_OFFLINE=1 come from the environment.  ORIGINAL is the folder that the repository
was made of.  --load: it is a model that transformers can load.
"""

import argparse
import filecmp
import os

import huggingface_hub

import checks


def names(folder):
    return sorted(os.path.relpath(os.path.join(at, name), folder)
                  for at, _, found in os.walk(folder) for name in found)


def check_files(repository, original):
    shown = huggingface_hub.snapshot_download(repository)
    wanted = names(original)
    fine = names(shown) == wanted and all(
        filecmp.cmp(os.path.join(shown, name), os.path.join(original, name), shallow=False)
        for name in wanted)
    checks.check("huggingface_hub snapshot_download", fine, f"{len(wanted)} files, offline")
    one = huggingface_hub.hf_hub_download(repository, wanted[0])
    checks.check("huggingface_hub hf_hub_download",
                 filecmp.cmp(one, os.path.join(original, wanted[0]), shallow=False), wanted[0])


def check_scan(repository, commit, original):
    info = huggingface_hub.scan_cache_dir()
    found = [(r.repo_id, r.nb_files, [(v.commit_hash, set(v.refs)) for v in r.revisions])
             for r in info.repos]
    wanted = [(repository, len(names(original)), [(commit, {"main"})])]
    checks.check("huggingface_hub scan_cache_dir", not info.warnings and found == wanted,
                 f"{len(info.warnings)} warnings" if found == wanted else str(found))


def check_load(repository):
    import transformers

    config = transformers.AutoConfig.from_pretrained(repository)
    tokenizer = transformers.AutoTokenizer.from_pretrained(repository)
    ids = tokenizer("Once upon a time").input_ids
    model = transformers.AutoModelForCausalLM.from_pretrained(repository)
    checks.check("transformers from the cache", len(ids) > 0 and model.config.vocab_size ==
                 config.vocab_size, f"{config.model_type}, {model.num_parameters()} parameters")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("repository")
    parser.add_argument("original")
    parser.add_argument("commit")
    parser.add_argument("--load", action="store_true")
    args = parser.parse_args()
    check_files(args.repository, args.original)
    check_scan(args.repository, args.commit, args.original)
    if args.load:
        check_load(args.repository)
    checks.finish()


main()
