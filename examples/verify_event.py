#!/usr/bin/env python3
"""Checks the proof of an event against the id of its blob, without a network and without trusting who gave it.

    verify_event.py PROOF.json 0xBLOB_ID        (- reads the proof from standard input)

The proof is the JSON of docs/proofs.md: what GraphQL answers, or `tributary verify --event … --json`. The id of the blob is all
that is trusted; get it from somebody else than the proof. Exit code 0: proved. 3: it is not; the first broken step is named. 1: the
file cannot be read. 2: wrong usage.

Python 3.9 or newer, nothing else. Keccak and the pairing are written out here: slow (a second), short, and to be read.

    event bytes -> leaf -> path -> root -> header -> eight symbols (and the prelude's) -> commitment -> certificate -> id

What it does not prove: that the root in the header is that of the events in the blob. That is the sealer's word until somebody
recomputes it from the whole blob, as `tributary verify` does.
"""

import json
import secrets
import sys


class Broken(Exception):
    """The first step that does not hold."""


def check(holds, step, what):
    if not holds:
        raise Broken(f"{step}: {what}")


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


def _rlp_item(data):
    check(data, "certificate", "it is cut short")
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
        item, content = _rlp_item(content)
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


# ── The proof ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────

SYMBOL_BYTES, PRELUDE_BYTES, HEADER_BYTES = 31, 31, 248


def symbols_of(begin, end):
    """Where the bytes begin … end - 1 of a payload lie: symbol 0 is EigenDA's own header, 31 bytes are in each after it."""
    return list(range(1 + begin // SYMBOL_BYTES, 1 + -(-end // SYMBOL_BYTES)))


def raw(text, step, length=None):
    plain = isinstance(text, str) and text[:2] == "0x" and len(text) % 2 == 0 and set(text[2:]) <= set("0123456789abcdef")
    check(plain, step, "it is not lower-case 0x text")
    data = bytes.fromhex(text[2:])
    check(length is None or len(data) == length, step, f"it has {len(data)} bytes, not {length}")
    return data


def symbol_of(text, step):
    """The 31 bytes of payload in a symbol."""
    data = raw(text, step, 32)
    check(data[0] == 0, step, "its first byte is not zero")
    return data[1:]


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
    fields = {"partition": partition, "seq": seq, "events": events}
    return {**fields, "deployment": header[12:28].hex(), "root": root, "hash": header[216:]}


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
    try:
        event = unwrap(document)
        chain, ordinal = event["proof"], event["ordinal"]
        opening, certificate = chain["opening"], raw(chain["blob"]["certificate"], "certificate")
        prelude = opening["prelude"]
        parts = (opening["symbolIndexes"], opening["symbols"], opening["proofs"])
        check(all(type(part) is list and len(part) == 8 for part in parts), "form", "a header has eight symbols")
        check(type(chain["path"]) is list, "form", "the path is no list")
        stated = [chain["leaf"], chain["batchRoot"], chain["batchHeader"], opening["blobSymbols"], prelude["symbolIndex"]]
        path, event_bytes = [raw(sibling, "path", 32) for sibling in chain["path"]], raw(event["raw"], "event")
        opened = [(prelude["symbol"], prelude["proof"]), *zip(*parts[1:])]
    except (KeyError, TypeError) as error:
        raise Broken(f"form: {type(error).__name__} {error}") from None
    numbers = [ordinal, *parts[0], *stated[3:]]
    check(all(type(n) is int and 0 <= n < 1 << 32 for n in numbers), "form", "a number is none of 32 bits")

    check(keccak256(certificate) == blob_id, "certificate", "it is that of another blob than the one that is trusted")
    commitment, symbols, backend = committed(certificate)

    header_bytes = raw(stated[2], "header", HEADER_BYTES)
    header = read_header(header_bytes)
    check(ordinal < header["events"], "event", f"the batch has {header['events']} events")
    leaf = keccak256(keccak256(ordinal.to_bytes(4, "big") + event_bytes))
    check(raw(stated[0], "leaf") == leaf, "leaf", "bytes and ordinal of the event give another")
    check(raw(stated[1], "path") == header["root"], "path", "batchRoot is not the root in the header")
    check(leads_to(leaf, path) == header["root"], "path", "it does not lead from the leaf to the root")

    # Where the header must lie follows from the prelude, which the blob holds too: a producer could plant a header in an event.
    check(stated[3] == symbols, "place", f"the blob has {symbols} symbols")
    payload = [symbol_of(symbol, f"symbol {at}") for at, (symbol, _) in enumerate(opened)]
    count, partition, first = read_prelude(payload[0], symbols)
    index = header["seq"] - first
    check(header["partition"] == partition and 0 <= index < count, "place", "the header is none of the batches in the prelude")
    begin = PRELUDE_BYTES + HEADER_BYTES * index
    places = symbols_of(0, PRELUDE_BYTES) + symbols_of(begin, begin + HEADER_BYTES)
    check([stated[4], *parts[0]] == places, "place", f"the symbols must be {places}")
    check(b"".join(payload[1:]) == header_bytes, "symbols", "they do not hold the header")

    points = [point_of(raw(proof, "opening"), "opening") for _, proof in opened]
    claims = [(place, int.from_bytes(part, "big"), point) for place, part, point in zip(places, payload, points)]
    check(openings_hold(commitment, symbols, claims), "opening", "the blob does not hold these symbols there")
    return {**header, "ordinal": ordinal, "batch_in_blob": index, "backend": backend, "bytes": event_bytes}


def unwrap(document):
    """The proof itself, or an answer that has it in it: GraphQL's, or that of `tributary verify --event … --json`."""
    for key in ("data", "event", "proof"):
        if isinstance(document, dict) and "raw" not in document and key in document:
            document = document[key]
    return document


def main(arguments):
    try:
        check(len(arguments) == 2, "usage", "a file and the id of a blob are needed")
        blob_id = raw(arguments[1], "blob id", 32)
    except Broken as error:
        print(f"{error}\n{__doc__.split(chr(10) * 2)[1]}", file=sys.stderr)
        return 2
    try:
        with open(0 if arguments[0] == "-" else arguments[0], encoding="utf-8") as file:
            document = json.load(file)
        proved = verify(document, blob_id)
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    # A ValueError is a text that is no JSON, or has a number of thousands of digits.
    except (Broken, ValueError, RecursionError) as error:
        print(f"not proved: {error}", file=sys.stderr)
        return 3
    print(f"proved: {len(proved['bytes'])} bytes are event {proved['ordinal']} of {proved['events']}")
    print(f"  batch       {proved['seq']} of partition {proved['partition']}, deployment {proved['deployment']}")
    print(f"  root        0x{proved['root'].hex()}")
    print(f"  header hash 0x{proved['hash'].hex()}")
    print(f"  blob        {arguments[1]}, header {proved['batch_in_blob']}, certified by {proved['backend']}")
    if proved["backend"] == "local":
        print("  certified by the local backend, which stands in for a network: nobody else holds this blob")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
