#!/usr/bin/env python3
"""Makes event-proof.json: a proof by no line of Rust, so that the binary's code is checked by what another program made.

    python3 da/testdata/event_proof.py > da/testdata/event-proof.json
    python3 da/testdata/event_proof.py --eigenda > da/testdata/event-proof-eigenda.json

From docs/journal.md, docs/da.md and docs/proofs.md: three batches, their blob, its commitment, a certificate, and the openings. It
takes seconds. Events, batches, payload, tree, polynomial and commitment are its own; keccak, the addition of points and the roots of
unity it takes from examples/verify_event.py, so for these the script is held to the binary's code, not to a third opinion. With
--eigenda the certificate is one of EigenDA, V3, with made-up signatures, and the bytes that are proved are no event.
"""

import json
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent.parent / "examples"))
from verify_event import G1, P, R, add, keccak256, root_of_unity, times  # noqa: E402


def tau_powers(count):
    """The first points of the reference string: x big-endian, the two highest bits say which y."""
    data = (HERE.parent / "eigenda-client/testdata/g1-1024.point").read_bytes()
    for at in range(0, 32 * count, 32):
        x = int.from_bytes(data[at : at + 32], "big")
        larger, x = x >> 254 == 3, x & ((1 << 254) - 1)
        y = pow(x**3 + 3, (P + 1) // 4, P)
        yield x, y if (y > P // 2) == larger else P - y


def commit(coefficients, powers):
    total = None
    for coefficient, power in zip(coefficients, powers):
        total = add(total, times(coefficient, power))
    return total


def divide(coefficients, at):
    """By X - at: the quotient and the value there."""
    running, quotient = 0, []
    for coefficient in reversed(coefficients):
        running = (running * at + coefficient) % R
        quotient.append(running)
    return quotient[-2::-1], quotient[-1]


def interpolate(values, root):
    size = len(values)
    inverse = pow(size, -1, R)
    return [sum(y * pow(root, -j * k % size, R) for k, y in enumerate(values)) * inverse % R for j in range(size)]


def tree(leaves):
    """OpenZeppelin's layout; the nodes, and where each leaf came to lie."""
    order = sorted(range(len(leaves)), key=lambda i: leaves[i])
    nodes = [b""] * (2 * len(leaves) - 1)
    places = {}
    for rank, i in enumerate(order):
        nodes[2 * len(leaves) - 2 - rank], places[i] = leaves[i], 2 * len(leaves) - 2 - rank
    for i in reversed(range(len(leaves) - 1)):
        nodes[i] = keccak256(b"".join(sorted(nodes[2 * i + 1 : 2 * i + 3])))
    return nodes, places


def path(nodes, place):
    siblings = []
    while place:
        siblings.append(nodes[place + 1 if place % 2 else place - 1])
        place = (place - 1) // 2
    return siblings


def leaf(ordinal, event):
    return keccak256(keccak256(struct.pack(">I", ordinal) + event))


PARTITION, FIRST_SEQ, DEPLOYMENT, NOON = 3, 41, bytes(range(16)), 1_790_000_000_000_000


def varint(number):
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def field(number, value):
    """A field of protobuf: bytes, or an integer that is not negative."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def event(event_id, source=b"urn:example:third", key=b"net"):
    """A datanet is registered."""
    data = field(1, key) + field(2, bytes(range(1, 21))) + field(3, b"Net")
    times = field(3, 2 * NOON), field(5, 2 * (NOON + 7))
    return field(1, event_id) + field(2, source) + times[0] + field(4, b"dev") + times[1] + field(20, data)


def batch(number, events, previous):
    body = b"".join(struct.pack(">I", len(event)) + event for event in events)
    root = tree([leaf(i, event) for i, event in enumerate(events)])[0][0]
    fields = b"TRIB\x01\x00\x00\x00" + struct.pack(">I", PARTITION) + DEPLOYMENT
    fields += struct.pack(">QQQ", FIRST_SEQ + number, 1000 + 10 * number, 1010 + 10 * number)
    fields += struct.pack(">III", len(events), len(body), len(body))
    fields += struct.pack(">qqq", NOON, NOON + 5, NOON + 9 + number)
    fields += keccak256(b"the last record of %d" % number) + root + keccak256(body) + previous
    assert len(fields) == 216
    return fields + keccak256(fields), body


def rlp(item):
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, bytes) and len(item) == 1 and item[0] < 0x80:
        return item
    content = b"".join(map(rlp, item)) if isinstance(item, list) else item
    base, length = (0xC0 if isinstance(item, list) else 0x80), len(content)
    if length < 56:
        return bytes([base + length]) + content
    prefix = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([base + 55 + len(prefix)]) + prefix + content


def eigenda(commitment, symbols):
    g2 = [[10, 11], [12, 13]]
    header = [0, b"\x00\x01", [list(commitment), g2, g2, symbols], keccak256(b"payment")]
    inclusion = [[header, bytes(65), [0, 1]], 2, bytes(96)]
    signers = [[4], [[31, 32]], [[35, 36]], g2, [50, 51], [60], [70], [[80]]]
    return b"\x02" + rlp([[keccak256(b"root"), 7_654_321], inclusion, signers, b"\x00\x01"])


def local(commitment, symbols, payload):
    fields = b"TRDC\x02\x01\x00\x00" + keccak256(payload) + struct.pack(">QqqI", len(payload), NOON + 20, NOON + 30, symbols)
    fields += b"".join(coordinate.to_bytes(32, "big") for coordinate in commitment)
    assert len(fields) == 132
    return fields + keccak256(fields)


def text(data):
    return "0x" + data.hex()


def point(at):
    return text(b"".join(coordinate.to_bytes(32, "big") for coordinate in at or (0, 0)))


class Blob:
    """Batches, published: the blob of their payload, and its commitment."""

    def __init__(self, events):
        self.events, self.batches, previous = events, [], keccak256(b"the batch before")
        for number, each in enumerate(events):
            self.batches.append(batch(number, each, previous))
            previous = self.batches[-1][0][216:]
        content = b"".join(header for header, _ in self.batches) + b"".join(body for _, body in self.batches)
        prelude = b"TRDA\x01\0\0" + struct.pack(">IIQQ", len(self.batches), PARTITION, FIRST_SEQ, 31 + len(content))
        self.payload = prelude + content
        symbols = [b"\0\0" + struct.pack(">I", len(self.payload)) + bytes(26)]
        symbols += [b"\0" + self.payload[at : at + 31].ljust(31, b"\0") for at in range(0, len(self.payload), 31)]
        self.size = 1 << (len(symbols) - 1).bit_length()
        self.symbols = symbols + [bytes(32)] * (self.size - len(symbols))
        self.root = root_of_unity(self.size)
        self.coefficients = interpolate([int.from_bytes(symbol, "big") for symbol in self.symbols], self.root)
        self.powers = list(tau_powers(self.size))
        assert self.powers[0] == G1
        self.commitment = commit(self.coefficients, self.powers)

    def certificate(self, of_eigenda):
        if of_eigenda:
            return eigenda(self.commitment, self.size)
        return local(self.commitment, self.size, self.payload)

    def opened_at(self, indexes):
        """The opening of symbol 1 and of these."""
        opened = []
        for index in [1, *indexes]:
            quotient, value = divide(self.coefficients, pow(self.root, index, R))
            assert value == int.from_bytes(self.symbols[index], "big")
            opened.append((index, text(self.symbols[index]), point(commit(quotient, self.powers))))
        opening = dict(zip(("symbolIndexes", "symbols", "proofs"), map(list, zip(*opened[1:]))))
        prelude = dict(zip(("symbolIndex", "symbol", "proof"), opened[0]))
        return {**opening, "blobSymbols": self.size, "prelude": prelude}

    def proof(self, which, ordinal, of_eigenda=False):
        nodes, places = tree([leaf(i, event) for i, event in enumerate(self.events[which])])
        event = self.events[which][ordinal]
        chain = {
            "leaf": text(leaf(ordinal, event)),
            "path": [text(sibling) for sibling in path(nodes, places[ordinal])],
            "batchRoot": text(nodes[0]),
            "batchHeader": text(self.batches[which][0]),
            "blob": {"certificate": text(self.certificate(of_eigenda))},
            "opening": self.opened_at(range(2 + 8 * which, 10 + 8 * which)),
        }
        return {"raw": text(event), "ordinal": ordinal, "proof": chain}


def main():
    of_eigenda = "--eigenda" in sys.argv
    batches = [[event(b"%d-%d" % (n, i)) for i in range(count)] for n, count in enumerate([5, 1, 6])]
    batches[2][0] = b"no event at all"
    blob = Blob(batches)
    proof = {"blobId": text(keccak256(blob.certificate(of_eigenda))), "event": blob.proof(2, 0 if of_eigenda else 1, of_eigenda)}
    print(json.dumps(proof, indent=1))


if __name__ == "__main__":
    main()
