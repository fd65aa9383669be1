"""What every kernel costs, read from its machine code: kernels/budget.tsv and kernels/loops.tsv. Run by ci/kernels.sh.

usage: kernel_budget.py TOOLS BUILD OUTPUT
  TOOLS   the folder of cuobjdump and nvdisasm
  BUILD   holds sm_80.cubin, sm_90a.cubin, compute_80.ptx, compute_90a.ptx, for each architecture that PTX is assembled for from_ptx_ARCH.cubin,
          and ptxas's messages in ptxas-ARCH.log
  OUTPUT  the folder to write the two tables to
Fails when a kernel spills registers or keeps anything on a stack, on any architecture; when ptxas says nothing of a kernel; and when a
module lacks a symbol that src/device/cuda or build.rs looks for.
"""

import re
import subprocess
import sys
from pathlib import Path

INSTRUCTION_BYTES = 16
SM90A_COLUMN = 4


def kernels():
    """(name, architecture) of every line of kernels.def."""
    for line in Path("kernels/kernels.def").read_text().splitlines():
        if match := re.match(r"KERNEL\((.*)\)$", line):
            columns = [column.strip() for column in match[1].split(",")]
            yield columns[0], "sm_90a" if columns[SM90A_COLUMN] == "sm90a" else "sm_80"


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def resources(tools, cubin):
    """Kernel -> registers and bytes of stack, from the machine code."""
    text = run(tools / "cuobjdump", "--dump-resource-usage", cubin)
    found = re.findall(r"Function (\w+)_entry:\s+REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", text)
    return {name: (int(registers), int(stack) + int(local)) for name, registers, stack, local in found}


def spills(log):
    """Kernel -> bytes spilt (stores and loads) and bytes of stack, from ptxas's messages."""
    pattern = r"Function properties for (\w+)\n\s+(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    return {
        name.removesuffix("_entry"): (int(stores) + int(loads), int(stack))
        for name, stack, stores, loads in re.findall(pattern, log.read_text())
    }


def smem_bytes(ptx):
    """Kernel -> sizeof(Smem), which device.cu leaves in a variable."""
    return dict(re.findall(r"\.global \.align 4 \.u32 (\w+)_smem_bytes(?: = (\d+))?;", ptx.read_text()))


def symbols(tools, module):
    """The symbols of a module, local ones included: without -rdc nvcc makes every variable local, const or not."""
    if module.suffix == ".ptx":
        return set(re.findall(r"^(?:\.visible )?\.(?:entry|global)\b.*?(\w+)(?:\(| = |;|$)", module.read_text(), re.M))
    return set(re.findall(r"STT_\w+\s+STB_\w+\s+.*?(\w+)$", run(tools / "cuobjdump", "--dump-elf-symbols", module), re.M))


def missing_symbols(tools, build):
    """What would not be found, module by module: a kernel's entry, by the loader, and in PTX the size of its Smem, by build.rs."""
    portable = [name for name, arch in kernels() if arch != "sm_90a"]
    every = [name for name, _ in kernels()]
    for module in sorted([*build.glob("*.cubin"), *build.glob("*.ptx")]):
        names = every if "90a" in module.name else portable
        suffixes = ["_entry", "_smem_bytes"] if module.suffix == ".ptx" else ["_entry"]
        wanted = {name + suffix for name in names for suffix in suffixes}
        yield from (f"{module.name} has no symbol {name}" for name in sorted(wanted - symbols(tools, module)))


def source_text(place):
    """The line of a kernel's file that a place names, as written."""
    path, line = place
    return f"{Path(path).name}: {Path(path).read_text().splitlines()[line - 1].strip()}"


def rare_lines():
    """Lines of our files in functions whose comment begins with `Rare:`, as (path, line): code in a loop that most turns do not enter."""
    found = set()
    for path in Path("kernels").rglob("*.cuh"):
        end = None
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if line.lstrip().startswith("/* Rare:"):
                end = line[: len(line) - len(line.lstrip())] + "}"
            if end is not None:
                found.add((str(path.resolve()), number))
            if line == end:
                end = None
    return found


class Code:
    """One kernel's machine code: where its labels are, where its branches go, and which lines of ours each instruction comes from,
    innermost first."""

    def __init__(self, kernel):
        self.kernel, self.labels, self.branches, self.places, self.products = kernel, {}, [], {}, set()

    def instructions(self, start, end):
        return range(start, end + 1, INSTRUCTION_BYTES)

    def innermost_loops(self, rare):
        """(first address, last address, addresses of rare code) of every loop that holds no other but in rare code."""
        ends = {}
        for address, label in self.branches:
            start = self.labels[label]
            if start < address:  # a branch to itself is the padding behind the end
                ends[start] = max(address, ends.get(start, 0))
        is_rare = {address: any(place in rare for place in places) for address, places in self.places.items()}
        loops = [(s, e) for s, e in sorted(ends.items()) if not all(is_rare[a] for a in self.instructions(s, e))]
        for s, e in loops:
            if not any(s <= s2 and e2 <= e and (s2, e2) != (s, e) for s2, e2 in loops):
                yield s, e, [a for a in self.instructions(s, e) if is_rare[a]]

    def last_place(self, start, end):
        """The line of ours that the loop's last instructions come from."""
        return next(self.places[a][0] for a in range(end, -1, -INSTRUCTION_BYTES) if self.places.get(a))


def disassemble(tools, cubin):
    """The code of every kernel, in the order of the file."""
    sources = str(Path("kernels").resolve())
    kernels, places, new_labels, is_new_place = [], [], [], False
    for line in run(tools / "nvdisasm", "-c", "-gi", cubin).splitlines():
        if match := re.search(r"\.section\s+\.text\.(\w+)_entry,", line):
            kernels.append(Code(match[1]))
        elif match := re.match(r"\s*//## File \"(.*?)\", line (\d+)", line):
            path = str(Path(match[1]).resolve())
            # A run of such lines names the callers of an inlined function, innermost first.
            places = places if is_new_place else []
            places = places + [(path, int(match[2]))] * (path.startswith(sources) and not path.endswith(".def"))
            is_new_place = True
            continue
        elif match := re.match(r"(\.L_x_\d+):", line):
            new_labels.append(match[1])
        elif match := re.match(r"\s*/\*([0-9a-f]+)\*/\s+(.*)", line):
            address = int(match[1], 16)
            kernels[-1].labels.update((label, address) for label in new_labels)
            kernels[-1].places[address] = places
            if "HMMA" in match[2]:
                kernels[-1].products.add(address)
            new_labels = []
            if branch := re.search(r"\bBRA\b.*`\((\.L_x_\d+)\)", match[2]):
                kernels[-1].branches.append((address, branch[1]))
        is_new_place = False
    return kernels


def main():
    tools, build, output = map(Path, sys.argv[1:])
    usage = {arch: resources(tools, build / f"{arch}.cubin") for arch in ("sm_80", "sm_90a")}
    shared = smem_bytes(build / "compute_90a.ptx") | smem_bytes(build / "compute_80.ptx")
    logs = {log.stem.removeprefix("ptxas-"): spills(log) for log in sorted(build.glob("ptxas-*.log"))}
    mistakes = list(missing_symbols(tools, build))
    budget = ["kernel\tregisters\tspill bytes\tstack bytes\tshared bytes"]
    for name, arch in kernels():
        registers, stack = usage[arch][name]
        said = {target: found.get(name) for target, found in logs.items() if arch != "sm_90a" or target == "sm_90a"}
        mistakes += [f"{name} on {target}: ptxas says nothing of its spills" for target, found in said.items() if found is None]
        found = {target: found for target, found in said.items() if found is not None}
        mistakes += [f"{name} on {target}: spills {s} bytes, {k} bytes of stack" for target, (s, k) in found.items() if s or k]
        spilt = max((spilt for spilt, _ in found.values()), default=0)
        budget.append(f"{name}\t{registers}\t{spilt}\t{stack}\t{shared.get(name) or 0}")
    loops = ["kernel\tSASS instructions\tof them rare\ton tensor cores\tend of the loop"]
    rare = rare_lines()
    for arch in ("sm_80", "sm_90a"):
        names = {name for name, own in kernels() if own == arch}
        for code in disassemble(tools, build / f"{arch}.cubin"):
            for start, end, rarely in code.innermost_loops(rare) if code.kernel in names else []:
                instructions = code.instructions(start, end)
                products = len(code.products.intersection(instructions))
                place = source_text(code.last_place(start, end))
                loops.append(f"{code.kernel}\t{len(instructions)}\t{len(rarely)}\t{products}\t{place}")
    (output / "budget.tsv").write_text("\n".join(budget) + "\n")
    (output / "loops.tsv").write_text("\n".join(loops) + "\n")
    if mistakes:
        sys.exit("\n".join(mistakes))


if __name__ == "__main__":
    main()
