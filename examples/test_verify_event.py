"""What the standalone verifier must refuse: python3 -m unittest discover -s examples"""

import copy
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
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
        planted, _ = forge.batch(2, [fake], bytes([7]) * 32)
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
        there, _ = forge.batch(0, [fake], bytes([7]) * 32)
        lie["proof"] = {**made_up, "batchHeader": forge.text(there), "opening": chain["opening"]}
        self.refuses(lie, "symbols", keccak256(certificate))

    def test_a_header_planted_at_any_symbol_with_a_prelude_of_its_own_before_it(self):
        """Whoever sends events chooses what lies in them; every symbol is opened truly, and none is where it must be."""
        fake = b"never recorded"
        for distance in (0, 5, 6):  # with 6 it lies where header 3 would
            at = 2 + 8 + 9 + distance
            before = bytes(31 * (at - 1) - (31 + 248 + 4))
            header, _ = forge.batch(at % 3, [fake], bytes([7]) * 32)
            prelude = b"TRDA\x01\0\0" + struct.pack(">IIQQ", 3, forge.PARTITION, forge.FIRST_SEQ, 31 + 3 * 248 + 100)
            blob = forge.Blob([[before + prelude + header + bytes(300)]])
            certificate = blob.certificate(False)
            opening = blob.opened_at(range(at + 1, at + 9))
            self.assertEqual(b"".join(bytes.fromhex(symbol[4:]) for symbol in opening["symbols"]), header)
            own_prelude = blob.opened_at([at])
            self.assertEqual(bytes.fromhex(own_prelude["symbols"][0][4:]), prelude)
            leaf = forge.text(forge.leaf(0, fake))
            made_up = {"leaf": leaf, "path": [], "batchRoot": leaf, "batchHeader": forge.text(header), "opening": opening}
            made_up["blob"] = {"certificate": forge.text(certificate)}
            lie = {"raw": forge.text(fake), "ordinal": 0, "proof": made_up}
            self.refuses(lie, "place" if at % 3 else "place: the symbols must be", keccak256(certificate))
            planted = {"symbolIndex": at, "symbol": own_prelude["symbols"][0], "proof": own_prelude["proofs"][0]}
            places = list(range(2 + 8 * (at % 3), 10 + 8 * (at % 3)))
            for index, indexes in [(at, opening["symbolIndexes"]), (at, places), (1, opening["symbolIndexes"]), (1, places)]:
                opening.update(prelude={**planted, "symbolIndex": index}, symbolIndexes=indexes)
                holds = (index, indexes) == (1, places)
                self.refuses(lie, "opening" if holds else "place: the symbols must be", keccak256(certificate))

    def test_members_that_are_missing_or_of_another_kind(self):
        lists = [["proof", "path"], *[["proof", "opening", name] for name in ("symbolIndexes", "symbols", "proofs")]]
        for path, _ in BYTES + [(["proof"], 0), (["proof", "opening"], 0), (["proof", "path"], 0), (["ordinal"], 0)]:
            for other in [None, 7, "", "0x", "0X00", [], {}, [[]]]:
                self.refuses(changed(path, lambda _: other))
        for path in lists:
            self.refuses(changed(path, lambda items: dict.fromkeys(items)), "form")
            self.refuses(changed(path, lambda items: items[:-1]))
            self.refuses(changed(path, lambda items: items[:1] + items))
            self.refuses(changed(path, lambda items: items[::-1]))
        for document in [None, [], {}, {"event": None}, {"data": {"event": None}}, 7, "x"]:
            self.refuses(document, "form")

    def test_certificates_that_are_none(self):
        eigenda, _ = load("event-proof-eigenda.json")
        whole = bytes.fromhex(eigenda["proof"]["blob"]["certificate"][2:])
        for wrong in [b"", b"\2", b"\2\xc0", whole[:-1], whole + b"\0", b"\7" + whole[1:], b"\1" + whole[1:], b"\2\xff" * 9]:
            with self.assertRaises(Broken):
                verify_event.committed(wrong)
        self.assertEqual(verify_event.committed(b"\1\0" + whole), verify_event.committed(whole))
        fields = verify_event.rlp(whole[1:])
        self.assertEqual(forge.rlp(fields), whole[1:])
        for version in (1, 2, 3):
            right = [fields[1], fields[0], *fields[2:]] if version == 1 else fields + ([b""] if version == 3 else [])
            encoded = bytes([version]) + forge.rlp(right)
            self.assertEqual(verify_event.committed(encoded), verify_event.committed(whole))
            for wrong in [right[:-1], right + [b""], right[::-1], right[:2] + [right[2][:-1]] + right[3:]]:
                with self.assertRaises(Broken):
                    verify_event.committed(bytes([version]) + forge.rlp(wrong))
        x = fields[1][0][0][2][0][0]
        for other in [b"\0" + x, x + b"\0", b"", [x]]:
            fields[1][0][0][2][0][0] = other
            with self.assertRaises(Broken):
                verify_event.committed(b"\2" + forge.rlp(fields))

    def test_rlp_that_is_not_in_its_shortest_form(self):
        for data in ["8105", "b800", "b80161", "b90038" + "61" * 56, "f800", "f90000", "b838" + "61" * 55, "c1", "c58361"]:
            with self.assertRaises(Broken):
                verify_event.rlp(bytes.fromhex(data))
        long = ("b838" + "61" * 56, b"a" * 56)
        for data, item in [("05", b"\5"), ("80", b""), ("8180", b"\x80"), long, ("c0", []), ("c105", [b"\5"])]:
            self.assertEqual(verify_event.rlp(bytes.fromhex(data)), item)

    def test_headers_that_break_a_rule(self):
        right, _ = forge.batch(1, [b"one", b"two"], bytes([7]) * 32)
        verify_event.read_header(right)
        empty = [(44, 1020, 8), (52, 0, 4), (56, 0, 4), (60, 0, 4), (64, 0, 8), (72, 0, 8), (120, 0, 32)]
        first = [(28, 0, 8), (36, 0, 8), (184, 0, 32)]
        for right_too in [empty, first, [(6, 1, 1), (52, 0, 4), (64, 0, 8), (72, 0, 8), (120, 0, 32)]]:
            verify_event.read_header(self.rehashed(right, right_too))
        broken = [
            *[[change] for change in [(0, 0, 1), (4, 2, 1), (5, 2, 1), (5, 1, 1), (6, 1, 1), (6, 2, 1), (7, 1, 1)]],
            *[[change] for change in [(8, 1 << 31, 4), (28, 1 << 63, 8), (36, 1 << 63, 8), (44, 1 << 63, 8), (44, 1000, 8)]],
            *[[change] for change in [(52, 0, 4), (52, 11, 4), (56, 900_001, 4), (56, 7, 4), (60, 1, 4), (64, 1 << 62, 8)]],
            *[[change] for change in [(72, 0, 8), (80, 1 << 62, 8), (120, 0, 32), (184, 0, 32), (28, 0, 8)]],
            *[empty[:at] + empty[at + 1 :] for at in range(1, len(empty))],
            *[first[:at] + first[at + 1 :] for at in range(len(first))],
        ]
        for changes in broken:
            with self.assertRaises(Broken, msg=str(changes)):
                verify_event.read_header(self.rehashed(right, changes))

    def rehashed(self, header, changes):
        fields = bytearray(header[:216])
        for at, value, size in changes:
            fields[at : at + size] = value.to_bytes(size, "big")
        return bytes(fields) + keccak256(fields)

    def test_exit_codes(self):
        script, proof = verify_event.__file__, str(DATA / "event-proof.json")
        blob_id, other = "0x" + BLOB_ID.hex(), "0x" + bytes(32).hex()
        digits = tempfile.NamedTemporaryFile("w", suffix=".json")
        digits.write('{"ordinal": ' + "1" * 5000 + "}")
        digits.flush()
        runs = [([proof, blob_id], 0), ([proof, other], 3), ([digits.name, blob_id], 3), ([script, blob_id], 3)]
        runs += [(["/no/such/file", blob_id], 1), ([proof], 2), ([proof, "0x00"], 2), ([proof, blob_id.upper()], 2), ([], 2)]
        for arguments, code in runs:
            ran = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
            self.assertEqual(ran.returncode, code, (arguments, ran.stdout, ran.stderr))
            self.assertNotIn("Traceback", ran.stderr)

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
