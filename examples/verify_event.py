#!/usr/bin/env python3
"""Checks the proof of an event against the id of its blob, without a network and without trusting who gave it.

    verify_event.py PROOF.json 0xBLOB_ID [--event SOURCE ID [--type TYPE] [--key KEY]] [--json]

The proof is the JSON of docs/proofs.md: what GraphQL answers, or `tributary verify --event … --json`; - reads it from standard
input. The id of the blob is all that is trusted; get it from somebody else than the proof. With --event the proof of any other event
is refused; without, see which one was proved. Exit code 0: proved. 3: it is not; the first broken step is named. 1: the file cannot
be read. 2: wrong usage.

Python 3.9 or newer, nothing else. Keccak and the pairing are written out here: slow (a second), short, and to be read.

    event bytes -> leaf -> path -> root -> header -> eight symbols (and the prelude's) -> commitment -> certificate -> id

What it does not prove: that the root in the header is that of the events in the blob. That is the sealer's word until somebody
recomputes it from the whole blob, as `tributary verify` does.
"""

import argparse
import json
import secrets
import sys


class Broken(Exception):
    """The first step that does not hold, with the code that docs/proofs.md lists."""

    CODES = {"leaf": "event", "symbols": "symbol", "expectation": "other_event"}

    def __init__(self, step, what):
        super().__init__(f"{step}: {what}")
        self.code = "proof_" + self.CODES.get(step, step.split()[0])


def check(holds, step, what):
    if not holds:
        raise Broken(step, what)


# ── keccak-256 ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────

MASK = (1 << 64) - 1


def _rounds():
    """The constants of the 24 rounds: the bits of a shift register."""
    constants, register = [], 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            if register & 1:
                constant |= 1 << ((1 << j) - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        constants.append(constant)
    return constants


ROUNDS = _rounds()


def _rotate(word, by):
    return ((word << by) | (word >> (64 - by))) & MASK if by else word


def _permute(a):
    """Keccak-f[1600] on 25 lanes, lane (x, y) at x + 5y."""
    for constant in ROUNDS:
        columns = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
        mixed = [columns[(x - 1) % 5] ^ _rotate(columns[(x + 1) % 5], 1) for x in range(5)]
        a = [a[i] ^ mixed[i % 5] for i in range(25)]
        x, y, lane = 1, 0, a[1]
        for t in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            a[x + 5 * y], lane = _rotate(lane, (t + 1) * (t + 2) // 2 % 64), a[x + 5 * y]
        a = [a[i] ^ (~a[i - i % 5 + (i + 1) % 5] & a[i - i % 5 + (i + 2) % 5] & MASK) for i in range(25)]
        a[0] ^= constant
    return a


def keccak256(data):
    padded = bytearray(data) + b"\x01" + bytes(-(len(data) + 1) % 136)
    padded[-1] |= 0x80
    lanes = [0] * 25
    for block in range(0, len(padded), 136):
        for i in range(17):
            lanes[i] ^= int.from_bytes(padded[block + 8 * i : block + 8 * i + 8], "little")
        lanes = _permute(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])


# ── BN254 ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

P = 21888242871839275222246405745257275088696311157297823662689037894645226208583  # of coordinates
R = 21888242871839275222246405745257275088548364400416034343698204186575808495617  # of symbols; the order of the group
U = 4965661367192848881  # of the curve's family; P, R and the length of the Miller loop follow from it
assert P == 36 * U**4 + 36 * U**3 + 24 * U**2 + 6 * U + 1 and R == P - 6 * U**2

# Points of G1 are (x, y), or None at infinity: y^2 = x^3 + 3.
G1 = (1, 2)


def add(a, b):
    if a is None or b is None:
        return b if a is None else a
    if a[0] == b[0]:
        if (a[1] + b[1]) % P == 0:
            return None
        slope = 3 * a[0] * a[0] * pow(2 * a[1], -1, P) % P
    else:
        slope = (b[1] - a[1]) * pow(b[0] - a[0], -1, P) % P
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def times(number, point):
    total = None
    for bit in bin(number % R)[2:]:
        total = add(total, total)
        if bit == "1":
            total = add(total, point)
    return total


def negative(point):
    return point and (point[0], -point[1] % P)


def point_of(data, step):
    """64 bytes: x and y, big-endian; zeros are the point at infinity. Every point of the curve is in the group."""
    check(len(data) == 64, step, f"a point has 64 bytes, not {len(data)}")
    x, y = int.from_bytes(data[:32], "big"), int.from_bytes(data[32:], "big")
    if (x, y) == (0, 0):
        return None
    check(x < P and y < P and (y * y - x * x * x - 3) % P == 0, step, "it is not on the curve")
    return x, y


# Fp2 is Fp with i^2 = -1, an element (a, b) is a + b·i. Points of G2 have coordinates in it.
G2 = (
    (
        10857046999023057135944570762232829481370756359578518086990519993285655852781,
        11559732032986387107991004021392285783925812861821192530917403151452391805634,
    ),
    (
        8495653923123431417604973247489272438418190587263600148770280649306958101930,
        4082367875863433681332203403145435568316851327593401208105741076214120093531,
    ),
)
# [tau] of EigenDA's reference string: `G2_TAU` in rust-kzg-bn254-primitives, the same for mainnet and testnets.
TAU_G2 = (
    (
        19394299006376106554626551996044114846855237028623244664226757033024550999552,
        10478571113809844268398751534081669357808742555529167819607714577862447855483,
    ),
    (
        9205262336805673656533560220225620941045451042642528799409071118332922267006,
        10552783866161062341197740743287753408530108186218052255509661543860392060676,
    ),
)


def add2(a, b):
    return (a[0] + b[0]) % P, (a[1] + b[1]) % P


def sub2(a, b):
    return (a[0] - b[0]) % P, (a[1] - b[1]) % P


def mul2(a, b):
    return (a[0] * b[0] - a[1] * b[1]) % P, (a[0] * b[1] + a[1] * b[0]) % P


def inverse2(a):
    norm = pow(a[0] * a[0] + a[1] * a[1], -1, P)
    return a[0] * norm % P, -a[1] * norm % P


# Fp12 is Fp with w^12 = 18·w^6 - 82, an element is its 12 coefficients. In it, i = w^6 - 9.
ONE = [1] + [0] * 11


def mul12(a, b):
    product = [0] * 23
    for i, x in enumerate(a):
        if x:
            for j, y in enumerate(b):
                product[i + j] += x * y
    for k in range(22, 11, -1):
        product[k - 6] += 18 * product[k]
        product[k - 12] -= 82 * product[k]
    return [coefficient % P for coefficient in product[:12]]


def power12(base, exponent):
    result = ONE
    for bit in bin(exponent)[2:]:
        result = mul12(result, result)
        if bit == "1":
            result = mul12(result, base)
    return result


def line(slope, point, at):
    """The line of this slope through a point of G2, moved to the curve over Fp12 as (x·w^2, y·w^3), taken at a point of G1."""
    first, third = mul2(slope, (at[0], 0)), sub2(point[1], mul2(slope, point[0]))
    value = [0] * 12
    value[0] = -at[1] % P
    value[1], value[7] = (first[0] - 9 * first[1]) % P, first[1]
    value[3], value[9] = (third[0] - 9 * third[1]) % P, third[1]
    return value


def miller(p, q):
    """The ate pairing of a point of G1 and one of G2, before the final power."""
    value, at = ONE, q
    for bit in bin(6 * U * U)[3:]:
        square = mul2(at[0], at[0])
        slope = mul2((3 * square[0] % P, 3 * square[1] % P), inverse2(add2(at[1], at[1])))
        value, at = mul12(mul12(value, value), line(slope, at, p)), _third(slope, at, at)
        if bit == "1":
            slope = mul2(sub2(q[1], at[1]), inverse2(sub2(q[0], at[0])))
            value, at = mul12(value, line(slope, at, p)), _third(slope, at, q)
    return value


def _third(slope, a, b):
    x = sub2(sub2(mul2(slope, slope), a[0]), b[0])
    return x, sub2(mul2(slope, sub2(a[0], x)), a[1])


def pairings_cancel(pairs):
    """Whether the product of the pairings is one."""
    product = ONE
    for p, q in pairs:
        if p is not None:
            product = mul12(product, miller(p, q))
    return power12(product, (P**12 - 1) // R) == ONE


# ── KZG ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def root_of_unity(order):
    """The number of which the powers are the places of a blob of so many symbols."""
    return pow(5, (R - 1) // order, R)


def openings_hold(commitment, symbols, claims):
    """Whether every claim (place, symbol, proof) holds of the polynomial that was committed to.

    For each, e(C - [y] + w^i·proof, [1]) = e(proof, [tau]). All at once: the sum of the equations, each times a number that
    nobody could know before. A false equation survives that with a chance of 2^-128.
    """
    root, left, right = root_of_unity(symbols), None, None
    for index, symbol, proof in claims:
        one = add(add(commitment, negative(times(symbol, G1))), times(pow(root, index, R), proof))
        weight = secrets.randbits(128)
        left, right = add(left, times(weight, one)), add(right, times(weight, proof))
    return pairings_cancel([(left, G2), (negative(right), TAU_G2)])


# ── Certificates ────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def rlp(data):
    """Lists and byte strings of RLP in its shortest form; what follows the first item is an error."""
    item, rest = _rlp_item(data)
    check(not rest, "certificate", "bytes follow it")
    return item


def _rlp_item(data, levels=8):
    check(data, "certificate", "it is cut short")
    check(levels, "certificate", "its lists lie too deep")
    first = data[0]
    if first < 0x80:
        return data[:1], data[1:]
    base = 0xC0 if first >= 0xC0 else 0x80
    of_length = max(0, first - base - 55)
    length = int.from_bytes(data[1 : 1 + of_length], "big") if of_length else first - base
    begin = 1 + of_length
    check(len(data) >= begin + length, "certificate", "it is cut short")
    check(not of_length or (data[1] and length > 55), "certificate", "a length is not in its shortest form")
    content, rest = data[begin : begin + length], data[begin + length :]
    if base == 0x80:
        check(length != 1 or content[0] >= 0x80, "certificate", "a byte is not in its shortest form")
        return content, rest
    items = []
    while content:
        item, content = _rlp_item(content, levels - 1)
        items.append(item)
    return items, rest


# How the fields of a certificate nest, by its version byte (1 is V2, 3 is V4), after EigenDA's contracts. A tuple is a list of
# exactly these; [x] is a list of any number of x; a number is one of at most so many bytes, without zeros before it.
HASH, BYTES = "32 bytes", "any bytes"
POINT, POINT_2 = (32, 32), ((32, 32), (32, 32))
BLOB_HEADER = (2, BYTES, (POINT, POINT_2, POINT_2, 4), HASH)
BATCH_HEADER, INCLUSION = (HASH, 4), ((BLOB_HEADER, BYTES, [4]), 4, BYTES)
SIGNERS = ([4], [POINT], [POINT], POINT_2, POINT, [4], [4], [[4]])
FIELDS = {
    1: (INCLUSION, BATCH_HEADER, SIGNERS, BYTES),
    2: (BATCH_HEADER, INCLUSION, SIGNERS, BYTES),
    3: (BATCH_HEADER, INCLUSION, SIGNERS, BYTES, 2),
}


CERTIFICATE_BYTES_MAX = 32_000


def fits(item, form):
    if isinstance(form, tuple):
        return isinstance(item, list) and len(item) == len(form) and all(map(fits, item, form))
    if isinstance(form, list):
        return isinstance(item, list) and all(fits(each, form[0]) for each in item)
    if isinstance(item, list):
        return False
    return form == BYTES or (len(item) == 32 if form == HASH else len(item) <= form and item[:1] != b"\0")


def committed(certificate):
    """What a certificate commits to: the commitment, how many symbols the blob has, and whose certificate it is."""
    check(len(certificate) <= CERTIFICATE_BYTES_MAX, "certificate", f"it has more than {CERTIFICATE_BYTES_MAX} bytes")
    if certificate[:4] == b"TRDC":
        check(certificate[4:8] == bytes([2, 1, 0, 0]), "certificate", "it is not one of the local backend's version 2")
        check(len(certificate) == 164, "certificate", "it has not 164 bytes")
        check(keccak256(certificate[:132]) == certificate[132:], "certificate", "it does not end with its hash")
        check(time_at(certificate, 48) in TIMES and time_at(certificate, 56) in TIMES, "certificate", "a time is out of range")
        point, symbols, backend = certificate[68:132], number(certificate, 64, 68), "local"
    else:
        # OP generic mode: 01 00 before it.
        versioned = certificate[2:] if certificate[:2] == b"\x01\x00" else certificate
        check(versioned and versioned[0] in FIELDS, "certificate", "its version is not known")
        fields, form = rlp(versioned[1:]), FIELDS[versioned[0]]
        check(fits(fields, form), "certificate", "it has not the fields of its version")
        (_, _, ((x, y), _, _, length), _), _, _ = fields[form.index(INCLUSION)][0]
        point = x.rjust(32, b"\0") + y.rjust(32, b"\0")
        symbols, backend = int.from_bytes(length, "big"), "eigenda"
    check(0 < symbols <= 1 << 19 and symbols & (symbols - 1) == 0, "certificate", f"no blob has {symbols} symbols")
    return point_of(point, "certificate"), symbols, backend


# ── The text ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

# JSON that no two readers understand differently: docs/proofs.md states the rules.
TEXT_BYTES_MAX, LEVELS_MAX, NUMBER_CHARS_MAX, EXPONENT_DIGITS_MAX = 8 << 20, 64, 32, 2


def read(data):
    """The document in the bytes of a text."""
    check(len(data) <= TEXT_BYTES_MAX, "form", f"the text has more than {TEXT_BYTES_MAX} bytes")
    hooks = {"parse_int": _number, "parse_float": _number, "parse_constant": _constant, "object_pairs_hook": _object}
    try:
        document = json.loads(data.decode("utf-8"), **hooks)
        deep = _levels(document) > LEVELS_MAX
        # Half a surrogate pair has no UTF-8.
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        deep = True
    except ValueError as error:
        raise Broken("form", error) from None
    check(not deep, "form", f"objects and lists lie more than {LEVELS_MAX} deep")
    return document


def _number(text):
    exponent = text.lower().partition("e")[2].lstrip("+-")
    fits = text.isascii() and len(text) <= NUMBER_CHARS_MAX and len(exponent) <= EXPONENT_DIGITS_MAX
    check(fits, "form", f"a number has more than {NUMBER_CHARS_MAX} characters, or its exponent {EXPONENT_DIGITS_MAX} digits")
    return int(text) if text.isdigit() or (text[1:].isdigit() and text != "-0") else float(text)


def _constant(text):
    raise Broken("form", f"{text} is no JSON")


def _object(members):
    different = dict(members)
    check(len(different) == len(members), "form", "an object has two members of one name")
    return different


def _levels(value):
    inside = value.values() if type(value) is dict else value if type(value) is list else None
    return 0 if inside is None else 1 + max(map(_levels, inside), default=0)


def unwrap(document):
    """The object with `raw`, or the one inside it at `data`, `event` and `proof`, of which each may be absent."""
    for name in ("data", "event", "proof"):
        if type(document) is dict and "raw" not in document and name in document:
            document = document[name]
    return document


def member(owner, name):
    check(type(owner) is dict, "form", f"what should have the member {name} is no object")
    check(name in owner, "form", f"the member {name} is missing")
    return owner[name]


def raw(text, length=None):
    plain = isinstance(text, str) and text[:2] == "0x" and len(text) % 2 == 0 and set(text[2:]) <= set("0123456789abcdef")
    check(plain, "form", "bytes are not lower-case 0x text")
    data = bytes.fromhex(text[2:])
    check(length is None or len(data) == length, "form", f"{len(data)} bytes lie where {length} belong")
    return data


def place(value):
    check(type(value) is int and 0 <= value < 1 << 32, "form", "a number is no integer of 32 bits, or not written as one")
    return value


def items(value, each, count=None):
    check(type(value) is list and count in (None, len(value)), "form", "it is no list, or none of that length")
    return [each(item) for item in value]


def hash_of(text):
    return raw(text, 32)


def opened_of(text):
    return raw(text, 64)


def parse(document):
    """The members of a proof, every one of its form."""
    event = unwrap(document)
    chain = member(event, "proof")
    opening = member(chain, "opening")
    prelude = member(opening, "prelude")
    return {
        "raw": raw(member(event, "raw")),
        "ordinal": place(member(event, "ordinal")),
        "leaf": hash_of(member(chain, "leaf")),
        "path": items(member(chain, "path"), hash_of),
        "root": hash_of(member(chain, "batchRoot")),
        "header": raw(member(chain, "batchHeader"), HEADER_BYTES),
        "certificate": raw(member(member(chain, "blob"), "certificate")),
        "places": items(member(opening, "symbolIndexes"), place, 8),
        "symbols": items(member(opening, "symbols"), hash_of, 8),
        "proofs": items(member(opening, "proofs"), opened_of, 8),
        "size": place(member(opening, "blobSymbols")),
        "prelude": (place(member(prelude, "symbolIndex")), hash_of(member(prelude, "symbol")), opened_of(member(prelude, "proof"))),
    }


# ── The event ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

# By the number of the field with the payload. Of every payload the first field is the key.
TYPES = dict(enumerate(
    "datanet.registered contribution.submitted contribution.reviewed model.registered model.updated policy.set "
    "inference.completed attribution.traced feedback.recorded agent.acted grant.set".split(), 20))  # fmt: skip


class Unnamed(Exception):
    """Bytes that do not say which event they are."""


def _varint(data, at):
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        value, at = value | (byte & 0x7F) << shift, at + 1
        if byte < 0x80:
            # As few bytes as it needs, and no more than 64 bits.
            if value >> 64 or (byte == 0 and shift):
                break
            return value, at
    raise Unnamed


def _fields(data):
    """The fields of a message of protobuf, their numbers ascending: by number, a list of what has bytes, None for what has none."""
    at, before, fields = 0, 1, {}
    while at < len(data):
        tag, at = _varint(data, at)
        if tag >> 3 < before or tag >= 1 << 32 or tag & 7 not in (0, 1, 2, 5):
            raise Unnamed
        before, value = tag >> 3, None
        if tag & 7 == 0:
            _, at = _varint(data, at)
        else:
            length, at = _varint(data, at) if tag & 7 == 2 else ({1: 8, 5: 4}[tag & 7], at)
            if length > len(data) - at:
                raise Unnamed
            value, at = (data[at : at + length] if tag & 7 == 2 else None), at + length
        fields.setdefault(before, []).append(value)
    return fields


def _only(fields, numbers, size, visible=True):
    """Which of these fields there is, and its text, if there is one field only, of visible ASCII where that is asked."""
    found = [(number, value) for number in numbers for value in fields.get(number, [])]
    if len(found) != 1 or found[0][1] is None or not 0 < len(found[0][1]) <= size:
        raise Unnamed
    (number, value) = found[0]
    if visible and not all(0x21 <= byte <= 0x7E for byte in value):
        raise Unnamed
    return number, value


def label(data):
    """Type, source, id and key that the bytes of an event say, all None if they do not say them in the one way of docs/proofs.md."""
    try:
        fields = _fields(data)
        event_id, source = _only(fields, [1], 128)[1].decode(), _only(fields, [2], 256)[1].decode()
        number, payload = _only(fields, TYPES, len(data), visible=False)
        key = _only(_fields(payload), [1], 256, visible=False)[1].decode("utf-8")
        return {"type": f"tributary.{TYPES[number]}.v1", "source": source, "id": event_id, "key": key}
    except (Unnamed, UnicodeDecodeError):
        return dict.fromkeys(("type", "source", "id", "key"))


def printable(text):
    """The text in visible ASCII and spaces, so that whoever reads it sees every character that is there, and no terminal obeys any."""
    return "".join(c if " " <= c <= "~" and c != "\\" else f"\\u{{{ord(c):x}}}" for c in text)


def expect(proved, expected):
    """Checks that the proved event calls itself what is expected."""
    check(proved["type"] is not None, "expectation", "the proved bytes name no source, id and type as an event does")
    for name, value in expected.items():
        known = f"the {name} of the proved event is `{printable(proved[name])}`, expected is `{printable(value)}`"
        check(proved[name] == value, "expectation", known)


# ── The proof ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

SYMBOL_BYTES, PRELUDE_BYTES, HEADER_BYTES = 31, 31, 248


def symbols_of(begin, end):
    """Where the bytes begin … end - 1 of a payload lie: symbol 0 is EigenDA's own header, 31 bytes are in each after it."""
    return list(range(1 + begin // SYMBOL_BYTES, 1 + -(-end // SYMBOL_BYTES)))


def payload_of(symbol, at):
    """The 31 bytes of payload in a symbol."""
    check(symbol[0] == 0, f"symbol {at}", "its first byte is not zero")
    return symbol[1:]


def number(data, begin, end):
    return int.from_bytes(data[begin:end], "big")


# Microseconds since 1970, of the years 0 to 9999.
TIMES = range(-62167219200000000, 253402300800000000)


def time_at(data, begin):
    return int.from_bytes(data[begin : begin + 8], "big", signed=True)


def read_header(header):
    """The fields of a batch's header that a proof is about. That all of it keeps the rules of docs/journal.md is checked."""
    check(header[:5] == b"TRIB\x01", "header", "it is not that of a batch of version 1")
    check(keccak256(header[:216]) == header[216:], "header", "it does not end with its hash")
    codec, gap, reserved = header[5:8]
    partition, seq, first, after = number(header, 8, 12), *(number(header, at, at + 8) for at in (28, 36, 44))
    events, raw_bytes, body_bytes = (number(header, at, at + 4) for at in (52, 56, 60))
    times = [time_at(header, at) for at in (64, 72, 80)]
    root, previous, zero = header[120:152], header[184:216], bytes(32)
    rules = [
        (codec <= 1 and gap <= 1 and reserved == 0, "codec, gap or reserved"),
        (partition < 1 << 31 and max(seq, first, after) < 1 << 63, "partition, seq or an offset"),
        (all(time in TIMES for time in times), "its times"),
        (gap or after > first, "next_offset"),
        (events == 0 or (not gap and events <= after - first), "events"),
        (4 * events <= raw_bytes <= 900_000 and (raw_bytes == 0) == (events == 0 and not gap), "raw_bytes"),
        (body_bytes < raw_bytes if codec else body_bytes == raw_bytes, "body_bytes"),
        (times[0] <= times[1] and (events or times[0] == times[1] == 0), "time_min or time_max"),
        ((events == 0) == (root == zero), "root"),
        ((seq == 0) == (previous == zero) and (seq or first == 0), "previous_hash or first_offset"),
    ]
    for holds, field in rules:
        check(holds, "header", f"it breaks the rule of {field}")
    deployment = "-".join(header[12:28].hex()[begin:end] for begin, end in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
    fields = {"partition": partition, "seq": seq, "events": events, "deployment": deployment}
    return {**fields, "root": root, "header_hash": header[216:]}


def read_prelude(prelude, symbols):
    check(prelude[:7] == b"TRDA\x01\0\0", "prelude", "it is not that of a payload of version 1")
    count, length = number(prelude, 7, 11), number(prelude, 23, 31)
    check(count > 0 and PRELUDE_BYTES + HEADER_BYTES * count <= length, "prelude", "it has no room for its batches")
    check(length <= (symbols - 1) * SYMBOL_BYTES, "prelude", "the blob has no room for the payload")
    return count, number(prelude, 11, 15), number(prelude, 15, 23)


def leads_to(leaf, path):
    """Up a tree of OpenZeppelin's layout: the parent is the hash of its children, the lesser first."""
    for sibling in path:
        leaf = keccak256(min(leaf, sibling) + max(leaf, sibling))
    return leaf


def verify(document, blob_id):
    """Checks every step; gives what was proved, or raises Broken with the first that does not hold."""
    proof = parse(document)
    check(keccak256(proof["certificate"]) == blob_id, "certificate", "it is that of another blob than the one that is trusted")
    commitment, symbols, backend = committed(proof["certificate"])

    header = read_header(proof["header"])
    check(proof["ordinal"] < header["events"], "event", f"the batch has {header['events']} events")
    leaf = keccak256(keccak256(proof["ordinal"].to_bytes(4, "big") + proof["raw"]))
    check(proof["leaf"] == leaf, "leaf", "bytes and ordinal of the event give another")
    check(proof["root"] == header["root"], "path", "batchRoot is not the root in the header")
    check(leads_to(leaf, proof["path"]) == header["root"], "path", "it does not lead from the leaf to the root")

    # Where the header must lie follows from the prelude, which the blob holds too: a producer could plant a header in an event.
    prelude_at, prelude, prelude_proof = proof["prelude"]
    check(proof["size"] == symbols, "place", f"the blob has {symbols} symbols")
    check(prelude_at == 1, "place", "the prelude is in symbol 1")
    payload = [payload_of(prelude, 1)]
    count, partition, first = read_prelude(payload[0], symbols)
    index = header["seq"] - first
    check(header["partition"] == partition and 0 <= index < count, "place", "the header is none of the batches in the prelude")
    begin = PRELUDE_BYTES + HEADER_BYTES * index
    places = symbols_of(begin, begin + HEADER_BYTES)
    check(proof["places"] == places, "place", f"the symbols must be {places}")
    payload += map(payload_of, proof["symbols"], places)
    check(b"".join(payload[1:]) == proof["header"], "symbols", "they do not hold the header")

    points = [point_of(data, "opening") for data in [prelude_proof, *proof["proofs"]]]
    claims = [(at, int.from_bytes(part, "big"), point) for at, part, point in zip([1, *places], payload, points)]
    check(openings_hold(commitment, symbols, claims), "opening", "the blob does not hold these symbols there")
    where = {"blob_id": blob_id, "backend": backend, "batch_in_blob": index, "ordinal": proof["ordinal"], "leaf": leaf}
    return {**where, **header, **label(proof["raw"])}


# In the order in which `tributary verify --proof --json` writes them.
MEMBERS = "blob_id backend batch_in_blob deployment partition seq ordinal type source id key leaf root header_hash".split()


def report(proved):
    """What was proved, as the members of `tributary verify --proof --json`."""
    return {name: text_of(proved[name]) for name in MEMBERS}


def text_of(value):
    return "0x" + value.hex() if isinstance(value, bytes) else value


def render(proved):
    said = report(proved)
    lines = ["proved: event {ordinal} of batch {seq} of partition {partition}, deployment {deployment}".format_map(said)]
    if said["type"] is None:
        lines.append("  the bytes name no source, id and type as an event does")
    else:
        lines += [f"  {name:11} {printable(said[name])}" for name in ("type", "source", "id", "key")]
    lines.append("  leaf        {leaf}\n  root        {root}, as the sealer says\n  header hash {header_hash}".format_map(said))
    lines.append("  blob        {blob_id}, header {batch_in_blob}, certified by {backend}".format_map(said))
    if said["backend"] == "local":
        lines.append("  the local backend stands in for a network: nobody else holds this blob")
    return "\n".join(lines)


def blob_id_of(text):
    digits = text[2:].lower()
    if text[:2] != "0x" or len(digits) != 64 or not set(text[2:]) <= set("0123456789abcdefABCDEF"):
        raise argparse.ArgumentTypeError("it is not 0x and 64 hexadecimal digits")
    return bytes.fromhex(digits)


def arguments_of(arguments):
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].strip(), allow_abbrev=False)
    parser.add_argument("proof", help="the file of the proof; - for standard input")
    parser.add_argument("blob_id", type=blob_id_of, help="the id of the blob that is trusted")
    parser.add_argument("--event", nargs=2, metavar=("SOURCE", "ID"), help="the event that must be the proved one")
    parser.add_argument("--type", choices=[f"tributary.{name}.v1" for name in TYPES.values()], help="its type")
    parser.add_argument("--key", help="its key")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    expected = dict(zip(("source", "id"), given.event or ()))
    further = {name: value for name, value in (("type", given.type), ("key", given.key)) if value is not None}
    if further and not expected:
        parser.error("--type and --key belong to --event")
    return given, {**expected, **further}


def main(arguments):
    given, expected = arguments_of(arguments)
    try:
        with open(0 if given.proof == "-" else given.proof, "rb") as file:
            text = file.read(TEXT_BYTES_MAX + 1)
        proved = verify(read(text), given.blob_id)
        if expected:
            expect(proved, expected)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    except Broken as broken:
        print(f"not proved: {broken} [{broken.code}]", file=sys.stderr)
        return 3
    print(json.dumps(report(proved), indent=2) if given.json else render(proved))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
