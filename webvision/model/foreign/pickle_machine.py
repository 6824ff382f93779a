"""A pickle read without unpickling: nothing that it names is ever imported, called or built.

A pickle is a program for a small stack machine. This is such a machine that knows containers, numbers, text, and three
functions by their bare names: those that torch.save uses for a dictionary, a tensor and a parameter. Whatever else a
file asks for is refused, by name.
"""

import pickletools
from dataclasses import dataclass
from typing import NamedTuple

_FLOATS = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16"}
_INTEGERS = {
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1",
    "BoolStorage": "?",
}  # fmt: skip
STORAGES = {f"torch.{name}": kind for name, kind in {**_FLOATS, **_INTEGERS}.items()}
_DICT, _TENSOR, _PARAMETER = (
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
)
_KNOWN = {_DICT, _TENSOR, _PARAMETER, *STORAGES}


class _Global(NamedTuple):
    name: str


class _Mark(NamedTuple):
    pass


class Storage(NamedTuple):
    """A block of numbers of the file."""

    kind: str  # a NumPy type, or 'bfloat16'
    key: str
    count: int


@dataclass(frozen=True, eq=False)
class Tensor:
    """A view of a storage: which of its numbers, in what shape."""

    storage: Storage
    offset: int
    shape: tuple
    strides: tuple


class Refused(Exception):
    pass


def described(value):
    return value.name if isinstance(value, _Global) else type(value).__name__.lstrip("_")


def run_pickle(file, storages=None):
    """What the pickle at the place of `file` leaves; the file is behind its end then. Fills `storages` by key."""
    machine = _Machine({} if storages is None else storages)
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name == "STOP":
            return machine.stack.pop()
        step = _STEPS.get(opcode.name)
        if step is None:
            raise Refused(f"it asks for the pickle operation {opcode.name}, which weights do not need")
        step(machine, argument)
    raise ValueError("the pickle has no end")


class _Machine:
    """The stack machine; its values are Python's own, and the classes above."""

    def __init__(self, storages):
        self.stack, self.memo, self.storages = [], {}, storages

    def since_mark(self):
        for index in range(len(self.stack) - 1, -1, -1):
            if type(self.stack[index]) is _Mark:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise ValueError("a mark is missing")

    def push(self, value):
        self.stack.append(value)

    def global_(self, name):
        if name not in _KNOWN:
            raise Refused(
                f"it asks for {name}, which is code and not weights: nothing in a file is ever run. "
                "Save the weights alone: torch.save(model.state_dict(), PATH)"
            )
        self.push(_Global(name))

    def stack_global(self):
        name, module = self.stack.pop(), self.stack.pop()
        self.global_(f"{module}.{name}" if type(name) is type(module) is str else "something without a name")

    def set_items(self, pairs):
        target = self.stack[-1]
        if type(target) is not dict:
            raise ValueError("items are set on what is no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if type(key) not in (str, int):  # nested tuples would be hashed by recursion
                raise ValueError("a key is neither text nor a number")
            target[key] = value

    def append(self, values):
        if type(self.stack[-1]) is not list:
            raise ValueError("values are appended to what is no list")
        self.stack[-1].extend(values)

    def persistent(self):
        """A storage: ('storage', type, key, device, count), and a view of another in files of before PyTorch 0.4."""
        what, kind, key, _, count, *view = self.stack.pop()
        if what != "storage" or type(kind) is not _Global or kind.name not in STORAGES or any(view):
            raise ValueError("a persistent id that is no storage")
        if type(key) is not str or type(count) is not int or count < 0:
            raise ValueError("a storage without a key or a count")
        storage = Storage(STORAGES[kind.name], key, count)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"storage {key} is of two kinds")
        self.push(storage)

    def reduce(self):
        arguments, function = self.stack.pop(), self.stack.pop()
        if type(function) is not _Global or type(arguments) is not tuple:
            raise ValueError("a call of what is no function")
        if function.name == _DICT:
            self.push({})
            for pair in arguments[0] if arguments else ():
                self.set_items(list(pair))
        elif function.name == _TENSOR:
            self.push(_tensor(*arguments[:4]))
        elif function.name == _PARAMETER and isinstance(arguments[0], Tensor):
            self.push(arguments[0])
        else:
            raise ValueError(f"{function.name} is called with something else than weights")


def _tensor(storage, offset, shape, strides):
    if (
        type(storage) is not Storage
        or type(offset) is not int
        or type(shape) is not tuple
        or type(strides) is not tuple
    ):
        raise ValueError("a tensor without storage, offset, shape or strides")
    if len(shape) != len(strides) or len(shape) > 8 or any(type(n) is not int or n < 0 for n in (*shape, *strides)):
        raise ValueError("a tensor's shape or strides are none")
    count = 1
    for side in shape:
        count *= side
    last = offset + sum((side - 1) * stride for side, stride in zip(shape, strides)) if count else offset
    if offset < 0 or count > storage.count or (count and last >= storage.count):
        raise ValueError(f"a tensor of shape {shape} reaches beyond its storage of {storage.count} numbers")
    return Tensor(storage, offset, shape, strides)


def _pop_tuple(count):
    def step(machine, _):
        values = tuple(machine.stack[len(machine.stack) - count :])
        if len(values) != count:
            raise ValueError("the stack is empty")
        del machine.stack[len(machine.stack) - count :]
        machine.push(values)

    return step


def _literal(machine, argument):
    machine.push(argument)


def _remember(machine, argument):
    machine.memo[argument] = machine.stack[-1]


def _recall(machine, argument):
    machine.push(machine.memo[argument])


_STEPS = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "MARK": lambda machine, _: machine.push(_Mark()),
    "POP": lambda machine, _: machine.stack.pop(),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "TUPLE1": _pop_tuple(1),
    "TUPLE2": _pop_tuple(2),
    "TUPLE3": _pop_tuple(3),
    "LIST": lambda machine, _: machine.push(machine.since_mark()),
    "DICT": lambda machine, _: (lambda pairs: (machine.push({}), machine.set_items(pairs)))(machine.since_mark()),
    "APPEND": lambda machine, _: machine.append([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "SETITEM": lambda machine, _: (lambda value, key: machine.set_items([key, value]))(
        machine.stack.pop(), machine.stack.pop()
    ),
    "SETITEMS": lambda machine, _: machine.set_items(machine.since_mark()),
    "GLOBAL": lambda machine, argument: machine.global_(argument.replace(" ", ".", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.stack_global(),
    "REDUCE": lambda machine, _: machine.reduce(),
    "BUILD": lambda machine, _: machine.stack.pop(),  # attributes of a dictionary (_metadata): no weights
    "BINPERSID": lambda machine, _: machine.persistent(),
    "MEMOIZE": lambda machine, _: _remember(machine, len(machine.memo)),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _remember),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _recall),
    **dict.fromkeys(
        (
            "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
            "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
            "BINBYTES", "SHORT_BINBYTES",
        ),
        _literal,
    ),
}  # fmt: skip
