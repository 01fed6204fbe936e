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
from verify_event import TEXT_BYTES_MAX, Broken, expect, keccak256, label, read, symbols_of, unwrap, verify

DA = pathlib.Path(__file__).parent.parent / "da"
DATA, VECTORS = DA / "testdata", DA / "eigenda-client/tests/vectors.json"
sys.path.insert(0, str(DATA))
import event_proof as forge  # noqa: E402


BASES = {"local": "event-proof.json", "eigenda": "event-proof-eigenda.json"}


def load(name):
    document = read((DATA / name).read_bytes())
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


def text_of(pieces):
    """A text in pieces, of which some come many times."""
    return "".join(piece if isinstance(piece, str) else piece[0] * piece[1] for piece in pieces)


def made(case):
    """The text of a case of proof-cases.json: that of its base with changes, or with a list in place of an object, or its own."""
    if "text" in case:
        return text_of(case["text"])
    text = (DATA / BASES[case["base"]]).read_text()
    for before, after in case.get("change", []):
        assert before in text, case
        text = text.replace(before, text_of(after), 1)
    if "list" in case:
        document = {"": json.loads(text)}
        *way, last = [""] + case["list"].split("/")[1:]
        owner = found(way, document)
        owner[last] = [owner[last][name] for name in case["of"]]
        text = json.dumps(document[""])
    return text


def verdict(text, blob_id, expected=None):
    """The code that a proof is refused with, or `proved`."""
    try:
        proved = verify(read(text), blob_id)
        if expected:
            expect(proved, expected)
        return "proved"
    except Broken as broken:
        return broken.code


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
        for ordinal, name in [(1, "event-proof.json"), (0, "event-proof-eigenda.json")]:
            proof, blob_id = load(name)
            proved = verify(proof, blob_id)
            self.assertEqual((proved["seq"], proved["ordinal"], proved["batch_in_blob"]), (43, ordinal, 2))
            self.assertEqual(verify({"data": {"event": proof}}, blob_id), proved)

    def test_the_cases_that_the_binary_is_held_to_as_well(self):
        for case in json.loads((DATA / "proof-cases.json").read_text()):
            text, (proof, blob_id) = made(case), load(BASES[case["base"]])
            expected = dict(zip(("source", "id"), case.get("event", [])))
            expected.update({name: case[name] for name in ("type", "key") if name in case})
            if "own_id" in case:
                blob_id = keccak256(bytes.fromhex(unwrap(json.loads(text))["proof"]["blob"]["certificate"][2:]))
            self.assertEqual(verdict(text.encode(), blob_id, expected), case["code"], case["case"])

    def test_the_size_and_the_encoding_of_the_text(self):
        text = (DATA / "event-proof.json").read_bytes()
        self.assertEqual(verdict(text.ljust(TEXT_BYTES_MAX), BLOB_ID), "proved")
        self.assertEqual(verdict(text.ljust(TEXT_BYTES_MAX + 1), BLOB_ID), "proof_form")
        for wrong in [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"]:
            within = text.replace(b'"blobId"', b'"' + wrong + b'": 1, "blobId"')
            self.assertEqual(verdict(within, BLOB_ID), "proof_form")
        for encoding in ("utf-16", "utf-32", "utf-8-sig"):
            self.assertEqual(verdict(text.decode().encode(encoding), BLOB_ID), "proof_form")

    def test_every_object_of_a_proof_must_be_one(self):
        for path in [[], ["proof"], ["proof", "blob"], ["proof", "opening"], ["proof", "opening", "prelude"]]:
            of = list(found(path).values())
            self.refuses(changed(path, lambda _: of) if path else of, "form")

    def test_flipped_bits(self):
        """Every fifth; those of the crate `da` flip them all."""
        for path, step in BYTES:
            for bit in range(len(path) % 5, 4 * (len(found(path)) - 2), 5):
                self.refuses(changed(path, lambda text: "0x" + flipped(bytes.fromhex(text[2:]), bit).hex()), step)

    def test_flipped_bits_of_the_text(self):
        text = json.dumps(PROOF).encode()
        for bit in random.Random(7).sample(range(len(text) * 8), 1000):
            self.assertNotEqual(verdict(flipped(text, bit), BLOB_ID), "proved")

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
                elsewhere = "place: the prelude" if index == at else "place: the symbols must be"
                holds = (index, indexes) == (1, places)
                self.refuses(lie, "opening" if holds else elsewhere, keccak256(certificate))

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
        for wrong in [b"", b"\2", b"\2\xc0", b"\2" + bytes.fromhex("c1" * 9000), whole[:-1], whole + b"\0", b"\7" + whole[1:], b"\1" + whole[1:], b"\2\xff" * 9]:
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

    def run_script(self, *arguments):
        ran = subprocess.run([sys.executable, verify_event.__file__, *arguments], capture_output=True, text=True)
        self.assertNotIn("Traceback", ran.stderr)
        return ran

    def test_exit_codes(self):
        script, proof = verify_event.__file__, str(DATA / "event-proof.json")
        blob_id, other = "0x" + BLOB_ID.hex(), "0x" + bytes(32).hex()
        digits = tempfile.NamedTemporaryFile("w", suffix=".json")
        digits.write('{"ordinal": ' + "1" * 5000 + "}")
        digits.flush()
        right, wrong = ["--event", "urn:example:third", "2-1"], ["--event", "urn:example:third", "2-2"]
        runs = [([proof, blob_id], 0), ([proof, other], 3), ([digits.name, blob_id], 3), ([script, blob_id], 3)]
        runs += [(["/no/such/file", blob_id], 1), ([str(DATA), blob_id], 1), ([proof], 2), ([], 2)]
        runs += [([proof, "0x" + BLOB_ID.hex().upper()], 0)]
        runs += [([proof, wrong], 2) for wrong in ("0x00", blob_id.upper(), blob_id[2:], blob_id[:-1], blob_id + "0", " " + blob_id)]
        runs += [([proof, blob_id[:-1] + "\u0661"], 2), ([proof, blob_id, *right], 0), ([proof, blob_id, *wrong], 3)]
        runs += [([proof, blob_id, *right, "--type", "tributary.datanet.registered.v1", "--key", "net", "--json"], 0)]
        runs += [([proof, blob_id, *right, "--key", "another"], 3), ([proof, blob_id, "--key", "net"], 2)]
        runs += [([proof, blob_id, *right, "--type", "datanet"], 2), ([proof, blob_id, "--event", "urn:example:third"], 2)]
        for arguments, code in runs:
            ran = self.run_script(*arguments)
            self.assertEqual(ran.returncode, code, (arguments, ran.stdout, ran.stderr))
        self.assertTrue(self.run_script(proof, blob_id, *wrong).stderr.endswith("[proof_other_event]\n"))
        self.assertTrue(self.run_script(proof, other).stderr.endswith("[proof_certificate]\n"))

    def test_what_was_proved_is_said(self):
        for name, said in [("local", ["tributary.datanet.registered.v1", "urn:example:third", "2-1", "net"]), ("eigenda", [None] * 4)]:
            proof, blob_id = load(BASES[name])
            arguments = [str(DATA / BASES[name]), "0x" + blob_id.hex()]
            text, document = self.run_script(*arguments).stdout, json.loads(self.run_script(*arguments, "--json").stdout)
            self.assertEqual([document[member] for member in ("type", "source", "id", "key")], said)
            self.assertEqual((document["leaf"], document["blob_id"]), (proof["proof"]["leaf"], arguments[1]))
            self.assertIn("  leaf        " + proof["proof"]["leaf"], text)
            for member, value in zip(("type", "source", "id", "key"), said):
                self.assertEqual(f"  {member:11} {value}\n" in text, value is not None)
            self.assertEqual("the bytes name no source, id and type" in text, said[0] is None)

    def test_nothing_that_an_event_says_reaches_the_terminal_but_visible_characters(self):
        key = "a\x1b[2Jb\u202e\\\r\x7f\xe9\U0010ffff"
        blob = forge.Blob([[forge.event(b"7", key=key.encode())]])
        certificate = blob.certificate(False)
        proved = verify(blob.proof(0, 0), keccak256(certificate))
        self.assertEqual(proved["key"], key)
        text, document = verify_event.render(proved), json.dumps(verify_event.report(proved))
        self.assertIn("  key         a\\u{1b}[2Jb\\u{202e}\\u{5c}\\u{d}\\u{7f}\\u{e9}\\u{10ffff}\n", text)
        self.assertTrue(all(" " <= character <= "~" or character == "\n" for character in text + document))
        expected = {"source": "urn:example:third", "id": "7", "key": "\x1b[2J"}
        with self.assertRaises(Broken) as caught:
            expect(proved, expected)
        self.assertTrue(str(caught.exception).isprintable(), str(caught.exception))

    def test_bytes_that_say_it_twice_or_in_another_form_have_no_label(self):
        field, data = forge.field, forge.field(1, b"net")
        event_id, source, payload = field(1, b"7"), field(2, b"urn:x"), field(20, data)
        right = event_id + source + payload
        said = {"type": "tributary.datanet.registered.v1", "source": "urn:x", "id": "7", "key": "net"}
        further = field(13, b"") * 2 + b"\x71" + bytes(8) + b"\x7d" + bytes(4) + payload + field(31, b"later")
        for whole in [right, event_id + source + further]:
            self.assertEqual(label(whole), said)
        for at, kind in enumerate(verify_event.TYPES.values()):
            self.assertEqual(label(event_id + source + field(20 + at, data))["type"], f"tributary.{kind}.v1")
        nothing = dict.fromkeys(said)
        for wrong in [
            event_id + right, event_id + source + source + payload, source + event_id + payload, right + field(21, data),
            right + payload, event_id + source, event_id + payload, source + payload, right[:-1], right + b"\xa5\x02", b"",
            *[event_id + source + field(20, other) for other in (data + data, field(2, b"net"), field(1, b"\xff"), field(1, b""))],
            *[event_id + source + field(20, other) for other in (field(1, b"a" * 257), field(1, 7), b"\x0a\x04net")],
            *[field(1, other) + source + payload for other in (b"a b", "\u0430".encode(), b"a" * 129, b"", 7)],
            *[event_id + field(2, other) + payload for other in (b"a b", b"a" * 257, b"", b"\x1b[2J")],
            b"\x02\x00" + right, b"\x8a\x00\x01" + right[2:], b"\x0a\x81\x00" + right[2:], event_id + source + field(19, data),
            right + b"\xf8\x01" + b"\xff" * 10, right + b"\xfb\x01", right + b"\x82\x80\x80\x80\x80\x01\x00", b"no event at all",
        ]:  # fmt: skip
            self.assertEqual(label(wrong), nothing, wrong)

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
