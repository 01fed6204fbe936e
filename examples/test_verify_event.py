"""What the standalone verifier must refuse: python3 -m unittest discover -s examples"""

import copy
import json
import pathlib
import random
import sys
import unittest

import verify_event
from verify_event import Broken, keccak256, symbols_of, unwrap, verify

DA = pathlib.Path(__file__).parent.parent / "da"
DATA, VECTORS = DA / "testdata", DA / "eigenda-client/tests/vectors.json"
sys.path.insert(0, str(DATA))
import event_proof as forge  # noqa: E402


def load(name):
    document = json.loads((DATA / name).read_text())
    return unwrap(document), bytes.fromhex(document["blobId"][2:])


PROOF, BLOB_ID = load("event-proof.json")
# Where bytes stand in a proof, and the first words of the refusals.
BYTES = [
    (["raw"], "leaf"),
    (["proof", "leaf"], "leaf"),
    (["proof", "path", 0], "path"),
    (["proof", "path", 1], "path"),
    (["proof", "batchRoot"], "path"),
    (["proof", "batchHeader"], "header"),
    (["proof", "blob", "certificate"], "certificate"),
    (["proof", "opening", "prelude", "symbol"], None),
    (["proof", "opening", "prelude", "proof"], "opening"),
    *[(["proof", "opening", "symbols", n], "symbol") for n in range(8)],
    *[(["proof", "opening", "proofs", n], "opening") for n in range(8)],
]


def found(path, proof=PROOF):
    for name in path:
        proof = proof[name]
    return proof


def changed(path, change):
    proof = copy.deepcopy(PROOF)
    owner = found(path[:-1], proof)
    owner[path[-1]] = change(owner[path[-1]])
    return proof


def flipped(data, bit):
    data = bytearray(data)
    data[bit // 8] ^= 1 << (bit % 8)
    return bytes(data)


class Refuses(unittest.TestCase):
    def refuses(self, proof, step=None, blob_id=BLOB_ID):
        with self.assertRaises(Broken) as caught:
            verify(proof, blob_id)
        if step:
            self.assertTrue(str(caught.exception).startswith(step), str(caught.exception))

    def test_what_is_right_is_proved(self):
        for name in ["event-proof.json", "event-proof-eigenda.json"]:
            proof, blob_id = load(name)
            proved = verify(proof, blob_id)
            self.assertEqual((proved["seq"], proved["ordinal"], proved["batch_in_blob"]), (43, 1, 2))
            self.assertEqual(verify({"data": {"event": proof}}, blob_id), proved)

    def test_flipped_bits(self):
        """Every fifth; those of the crate `da` flip them all."""
        for path, step in BYTES:
            for bit in range(len(path) % 5, 4 * (len(found(path)) - 2), 5):
                self.refuses(changed(path, lambda text: "0x" + flipped(bytes.fromhex(text[2:]), bit).hex()), step)

    def test_flipped_bits_of_the_text(self):
        text = json.dumps(PROOF).encode()
        for bit in random.Random(7).sample(range(len(text) * 8), 1000):
            try:
                document = json.loads(flipped(text, bit))
            except (UnicodeDecodeError, json.JSONDecodeError):
                continue
            self.refuses(document)

    def test_every_other_index_and_size(self):
        for n in range(8):
            for index in [i for i in range(-1, 65) if i != PROOF["proof"]["opening"]["symbolIndexes"][n]]:
                self.refuses(changed(["proof", "opening", "symbolIndexes", n], lambda _: index))
        for size in [0, 1, 32, 128, 1 << 19, True, 64.0, "64"]:
            self.refuses(changed(["proof", "opening", "blobSymbols"], lambda _: size))
        for ordinal in [0, 2, 3, 1 << 32, 1.0, "1", None]:
            self.refuses(changed(["ordinal"], lambda _: ordinal))
        self.refuses(changed(["proof", "opening", "prelude", "symbolIndex"], lambda _: 0), "place")

    def test_a_certificate_of_another_size_or_commitment(self):
        for place, value in [(64, (128).to_bytes(4, "big")), (68, b"\0" * 31 + b"\1" + b"\0" * 31 + b"\2"), (68, bytes(64))]:
            fields = bytearray.fromhex(PROOF["proof"]["blob"]["certificate"][2:])[:132]
            fields[place : place + len(value)] = value
            certificate = bytes(fields) + keccak256(fields)
            proof = changed(["proof", "blob", "certificate"], lambda _: "0x" + certificate.hex())
            proof["proof"]["opening"]["blobSymbols"] = int.from_bytes(fields[64:68], "big")
            self.refuses(proof, "opening", keccak256(certificate))

    def test_a_header_planted_in_an_event(self):
        """The blob has one batch. Its event holds a flawless header where the third would be."""
        fake = b"never recorded"
        planted, _ = forge.batch(2, [fake], bytes(32))
        blob = forge.Blob([[bytes(248 - 4) + planted + bytes(300)]])
        certificate = blob.certificate(False)
        proof = blob.proof(0, 0)
        verify(proof, keccak256(certificate))
        chain, opening = proof["proof"], blob.opened_at(range(18, 26))
        self.assertEqual(b"".join(bytes.fromhex(symbol[4:]) for symbol in opening["symbols"]), planted)
        leaf = forge.text(forge.leaf(0, fake))
        made_up = {**chain, "leaf": leaf, "path": [], "batchRoot": leaf, "batchHeader": forge.text(planted), "opening": opening}
        lie = {"raw": forge.text(fake), "ordinal": 0, "proof": made_up}
        self.refuses(lie, "place: the header is none", keccak256(certificate))
        prelude = bytearray.fromhex(opening["prelude"]["symbol"][2:])
        prelude[11] = 3
        lie["proof"]["opening"]["prelude"]["symbol"] = "0x" + prelude.hex()
        self.refuses(lie, "opening", keccak256(certificate))
        there, _ = forge.batch(0, [fake], bytes(32))
        lie["proof"] = {**made_up, "batchHeader": forge.text(there), "opening": chain["opening"]}
        self.refuses(lie, "symbols", keccak256(certificate))

    def test_members_that_are_missing_or_of_another_kind(self):
        for path, _ in BYTES + [(["proof"], 0), (["proof", "opening"], 0), (["proof", "path"], 0), (["ordinal"], 0)]:
            for other in [None, 7, "", "0x", "0X00", [], {}, [[]]]:
                self.refuses(changed(path, lambda _: other))
        for document in [None, [], {}, {"event": None}, {"data": {"event": None}}, 7, "x"]:
            self.refuses(document, "form")

    def test_certificates_that_are_none(self):
        eigenda, _ = load("event-proof-eigenda.json")
        whole = bytes.fromhex(eigenda["proof"]["blob"]["certificate"][2:])
        for wrong in [b"", b"\2", b"\2\xc0", whole[:-1], whole + b"\0", b"\7" + whole[1:], b"\1" + whole[1:], b"\2\xff" * 9]:
            with self.assertRaises(Broken):
                verify_event.committed(wrong)
        self.assertEqual(verify_event.committed(b"\1\0" + whole), verify_event.committed(whole))

    def test_openings_of_the_client_hold_and_no_others(self):
        for vector in json.loads(VECTORS.read_text()):
            blob, size = bytes.fromhex(vector["blob"]), vector["symbols"]
            at, value = pow(verify_event.root_of_unity(size), vector["index"], verify_event.R), 0
            for begin in reversed(range(0, len(blob), 32)):
                value = (value * at + int.from_bytes(blob[begin : begin + 32], "big")) % verify_event.R
            commitment, proof = (verify_event.point_of(bytes.fromhex(vector[name]), name) for name in ("commitment", "opening"))
            for difference, holds in [(0, True), (1, False)]:
                claim = (vector["index"], value + difference, proof)
                self.assertEqual(verify_event.openings_hold(commitment, size, [claim]), holds)

    def test_places(self):
        self.assertEqual(symbols_of(0, 31), [1])
        self.assertEqual(symbols_of(31, 31 + 248), list(range(2, 10)))
        self.assertEqual(symbols_of(31 + 3 * 248, 31 + 4 * 248), list(range(26, 34)))


if __name__ == "__main__":
    unittest.main()
