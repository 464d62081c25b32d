"""Makes a CPU build of PyPI's torch: python cuda_stand_ins.py SITE_PACKAGES

PyPI's torch for Linux is linked against two gigabytes of CUDA libraries that a CPU never calls.
Each one that is not there becomes a library of the same name, symbols and symbol versions, whose
functions end the process: one that is called after all does not go unseen.
"""

import glob
import os
import re
import subprocess
import sys
import tempfile

CUDA = r"lib(?:cu|nv|nccl)\S*"


def readelf(option, path):
    command = ["readelf", "--wide", option, path]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def what_torch_wants(torch_lib):
    """Names of CUDA libraries; version of a symbol -> its library; undefined symbols."""
    libraries, version_of, symbols = set(), {}, set()
    for path in glob.glob(os.path.join(torch_lib, "lib*.so")):
        libraries.update(re.findall(rf"\(NEEDED\).*\[({CUDA})\]", readelf("--dynamic", path)))
        for part in readelf("--version-info", path).split("File: ")[1:]:
            for version in re.findall(r"Name: (\S+)", part):
                version_of[version] = part.split()[0]
        for row in readelf("--dyn-syms", path).splitlines():
            field = row.split()
            if len(field) >= 8 and field[4] == "GLOBAL" and field[6] == "UND":
                symbols.add(field[7])
    return libraries, version_of, symbols


def build(path, version, symbols):
    with tempfile.TemporaryDirectory() as tmp:
        source, script = os.path.join(tmp, "a.c"), os.path.join(tmp, "a.map")
        with open(source, "w") as f:
            f.write("#include <stdio.h>\n#include <stdlib.h>\n")
            for s in sorted(symbols):
                f.write(f'void {s}(void) {{ fputs("{s}: a stand-in\\n", stderr); abort(); }}\n')
        with open(script, "w") as f:
            f.write(f"{version} {{ global: *; }};\n")
        soname = os.path.basename(path)
        subprocess.run(["cc", "-shared", "-fPIC", "-fno-builtin", source, "-o", path,
                        f"-Wl,-soname,{soname},--version-script,{script}"], check=True)


def main(site_packages):
    torch_lib = os.path.join(site_packages, "torch", "lib")
    nvidia = glob.glob(os.path.join(site_packages, "nvidia", "*", "lib", "*"))
    there = {os.path.basename(path) for path in nvidia}
    libraries, version_of, symbols = what_torch_wants(torch_lib)
    library_of = {name: version for version, name in version_of.items()}
    plain = {s for s in symbols if re.match(r"(nccl|cuFile|cusparseLt)", s) and "@" not in s}
    for name in sorted(libraries - there - {"libcuda.so.1"}):
        version = library_of.get(name, "")
        mine = {s.split("@")[0] for s in symbols if version and s.endswith("@" + version)}
        if not version:  # which of these has a symbol does not matter to the loader
            mine, plain = plain, set()
        build(os.path.join(torch_lib, name), version, mine)


if __name__ == "__main__":
    main(*sys.argv[1:])
