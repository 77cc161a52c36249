package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Evidence, section 10: two checkpoints, or a wrong entry under a signed root.

func checkEvidence(file string, logs map[string]*history) string {
	if strings.HasPrefix(file, "ledgerd-entry-evidence/v1\n") {
		return checkEntryEvidence(file, logs)
	}
	rest, found := strings.CutPrefix(file, "ledgerd-evidence/v1\n")
	require(found, "evidence: not a file of it")
	var root []byte
	var proof [][]byte
	for strings.HasPrefix(rest, "root ") && root == nil || strings.HasPrefix(rest, "hash ") && root != nil {
		line, after, _ := strings.Cut(rest, "\n")
		if root == nil {
			root = hash32(line[5:])
		} else {
			proof = append(proof, hash32(line[5:]))
		}
		rest = after
	}
	first, rest := takeNote(rest)
	second, rest := takeNote(rest)
	require(rest == "", "evidence: bytes left over")
	smaller, larger := openAccountable(first, logs), openAccountable(second, logs)
	require(smaller.origin == larger.origin, "evidence: of two logs")
	if smaller.size == larger.size {
		require(root == nil && first < second, "evidence: not in its one spelling")
		root = larger.root
	} else {
		require(root != nil && smaller.size < larger.size, "evidence: not in its one spelling")
		if smaller.size > 0 {
			checkConsistency(smaller.size, root, larger.size, larger.root, proof)
		} else {
			require(len(proof) == 0 && bytes.Equal(root, digest()), "evidence: a tree of nothing")
		}
	}
	require(!bytes.Equal(root, smaller.root), "evidence: the two checkpoints agree")
	return fmt.Sprintf("%s signed two histories, of %d and %d entries", smaller.origin, smaller.size, larger.size)
}

func takeNote(from string) (note, rest string) {
	line, rest, _ := strings.Cut(from, "\n")
	length, found := strings.CutPrefix(line, "note ")
	require(found, "evidence: a note's length is missing")
	size := decimal(length)
	require(size <= uint64(len(rest)), "evidence: cut short")
	return rest[:size], rest[size:]
}

func openAccountable(note string, logs map[string]*history) *checkpoint {
	tree := readCheckpoint(note)
	log := logs[tree.origin]
	require(log != nil, "evidence: no key history of %s was given", tree.origin)
	known := log.accountable(tree.size)
	require(len(tree.signers(known, false)) > 0, "evidence: by no key that counts against %s", tree.origin)
	return tree
}

// An entry of the tree; header is nil where its bytes are none.
type included struct {
	position uint64
	raw      []byte
	header   *header
	body     []byte
}

func checkEntryEvidence(file string, logs map[string]*history) string {
	top, rest, found := strings.Cut(file, "\nnote ")
	require(found, "evidence: no checkpoint")
	note, rest := takeNote("note " + rest)
	require(rest == "", "evidence: bytes left over")
	tree := openAccountable(note, logs)
	lines := strings.Split(top, "\n")[1:]
	require(len(lines) > 1, "evidence: of no entry")
	claim, found := strings.CutPrefix(lines[0], "wrong ")
	require(found, "evidence: of what")
	var entries []*included
	for lines = lines[1:]; len(lines) > 0; {
		var entry *included
		entry, lines = takeEntry(lines, tree)
		entries = append(entries, entry)
	}
	require(len(entries) == 1 || (len(entries) == 2 && entries[0].position < entries[1].position), "evidence: its entries")
	wrong := entries[len(entries)-1]
	var earlier *included
	if len(entries) == 2 {
		earlier = entries[0]
	}
	if claim == "form" {
		require(earlier == nil && len(wrong.raw) > 0 && wrong.raw[0] == 1 && wrong.header == nil, "evidence: the header is one")
	} else {
		require(wrong.header != nil && (earlier == nil || earlier.header != nil), "evidence: a header is none")
		require(isTrue(claim, tree.origin, earlier, wrong), "evidence: the claim %.20q is not true", claim)
	}
	return fmt.Sprintf("%s signed a tree of %d entries in which entry %d is wrong (%s)", tree.origin, tree.size, wrong.position, claim)
}

func takeEntry(lines []string, tree *checkpoint) (*included, []string) {
	words := strings.Split(lines[0], " ")
	require(len(words) == 3 && words[0] == "entry", "evidence: a line that is none of it")
	entry, lines := &included{position: decimal(words[1]), raw: unbase64(words[2])}, lines[1:]
	var proof [][]byte
	for ; len(lines) > 0 && strings.HasPrefix(lines[0], "hash "); lines = lines[1:] {
		proof = append(proof, hash32(lines[0][5:]))
	}
	checkInclusion(leafHash(entry.raw), entry.position, tree.size, proof, tree.root)
	entry.header, _ = attempt(func() *header { return readHeader(entry.raw) })
	if len(lines) > 0 && strings.HasPrefix(lines[0], "body ") {
		entry.body = unbase64(lines[0][5:])
		fits := entry.header != nil && bytes.Equal(digest(entry.body), entry.header.bodyDigest)
		require(len(entry.body) > 0 && fits, "evidence: the body of another entry")
		lines = lines[1:]
	}
	return entry, lines
}

// attempt tells whether nothing is refused on the way to a value.
func attempt[T any](do func() T) (value T, ok bool) {
	defer func() {
		if thrown := recover(); thrown != nil {
			if _, isOurs := thrown.(refusal); !isOurs {
				panic(thrown)
			}
		}
	}()
	return do(), true
}

func isTrue(claim, origin string, earlier, wrong *included) bool {
	entry := wrong.header
	adjacent := earlier != nil && earlier.position+1 == wrong.position
	switch claim {
	case "place":
		return entry.index != wrong.position || (entry.kind == genesisKind) != (wrong.position == 0)
	case "chain":
		if earlier == nil {
			first := digest([]byte("ledgerd/genesis/v1\n"), lp8(origin))
			return wrong.position == 0 && !bytes.Equal(entry.previous, first)
		}
		return adjacent && !bytes.Equal(entry.previous, leafHash(earlier.raw))
	case "time":
		return adjacent && entry.time < earlier.header.time
	case "repeat":
		return earlier != nil && bytes.Equal(entry.bodyDigest, earlier.header.bodyDigest)
	case "signature":
		return hasBadSignature(origin, earlier, entry)
	case "key":
		return isByWrongKey(earlier, wrong)
	case "body":
		return hasWrongBody(origin, earlier, wrong)
	}
	return false
}

// hasBadSignature: earlier is the entry that admitted the key, as the header says.
func hasBadSignature(origin string, earlier *included, entry *header) bool {
	if earlier == nil || earlier.position != entry.keyIndex {
		return false
	}
	for _, public := range earlier.named() {
		if bytes.Equal(keyID(public), entry.keyID) {
			return !verifies(public, entry.signedBytes(origin), entry.signature)
		}
	}
	return false
}

func isByWrongKey(earlier, wrong *included) bool {
	entry := wrong.header
	switch {
	case wrong.position == 0:
		return false
	case earlier == nil:
		return entry.keyIndex >= wrong.position
	case earlier.ended() != nil && bytes.Equal(earlier.ended(), entry.keyID):
		return true
	case earlier.position != entry.keyIndex:
		return false
	case slices.Contains(byAuthority, earlier.header.kind) && earlier.aboutKeys() == nil:
		return false
	}
	public := earlier.named()[signingRole(entry.kind)]
	return public == nil || !bytes.Equal(keyID(public), entry.keyID)
}

func signingRole(kind byte) uint64 {
	switch {
	case slices.Contains(byInstitutions, kind):
		return institution
	case slices.Contains(byAuthority, kind):
		return authorityRole
	}
	return entryRole
}

func hasWrongBody(origin string, earlier, wrong *included) bool {
	if wrong.body == nil || !slices.Contains(byAuthority, wrong.header.kind) {
		return false
	}
	if earlier != nil {
		for _, again := range wrong.named() {
			for _, before := range earlier.named() {
				if bytes.Equal(again, before) {
					return true
				}
			}
		}
		ended := wrong.ended()
		return ended != nil && bytes.Equal(ended, earlier.ended())
	}
	// Of a body that we can't read nothing is known: a later version may say more.
	said := wrong.aboutKeys()
	if said == nil {
		return false
	}
	record := map[byte]uint64{genesisKind: genesisRecord, keyKind: keyRecord, lossKind: lossRecord}[wrong.header.kind]
	if said.number != record || said.origin != origin {
		return true
	}
	if record == lossRecord {
		return said.record.number(1) != wrong.position
	}
	action, role := said.record.number(1), said.record.number(2)
	if record != keyRecord || action == revoke || role == authorityRole {
		return false
	}
	public, subject := said.record.bytes(4), said.record.text(3)
	wanted := admissionDigest(origin, subject, role, public)
	return !isPublicKey(public) || !verifies(public, wanted, said.record.bytes(5))
}

// aboutKeys is the record of a GENESIS, KEY or LOSS whose body is here.
func (i *included) aboutKeys() *body {
	if i.body == nil || !slices.Contains(byAuthority, i.header.kind) {
		return nil
	}
	said, _ := attempt(func() *body { return readBody(i.body) })
	return said
}

// named are the public keys that an entry puts in force, by role.
func (i *included) named() map[uint64][]byte {
	said := i.aboutKeys()
	switch {
	case said == nil:
		return nil
	case said.number == genesisRecord:
		return map[uint64][]byte{
			logRole: said.record.bytes(1), entryRole: said.record.bytes(2),
			cosignerRole: said.record.bytes(3), authorityRole: said.record.bytes(4),
		}
	case said.number == lossRecord:
		return map[uint64][]byte{logRole: said.record.bytes(2), cosignerRole: said.record.bytes(4)}
	case said.number == keyRecord && said.record.number(1) != revoke:
		return map[uint64][]byte{said.record.number(2): said.record.bytes(4)}
	}
	return nil
}

// ended is the id of the key that an entry revokes or replaces; a log key is revoked after its end.
func (i *included) ended() []byte {
	said := i.aboutKeys()
	if said == nil || said.number != keyRecord {
		return nil
	}
	switch said.record.number(1) {
	case rotate:
		return said.record.bytes(6)
	case revoke:
		if role := said.record.number(2); role == institution || role == regulator {
			return keyID(said.record.bytes(4))
		}
	}
	return nil
}
