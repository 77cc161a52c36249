package main

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
)

// Roles and actions of key events, section 3.
const (
	institution, regulator, logRole, entryRole, cosignerRole, authorityRole, tlsRole = 1, 2, 3, 4, 5, 6, 7
	admit, rotate, revoke                                                            = 1, 2, 3
)

// A key of an institution or regulator.
type member struct {
	subject  string
	role     uint64
	public   []byte
	admitted uint64
	revoked  uint64 // 0: it is good
}

// A key of the node or the authority.
type ownKey struct {
	public   []byte
	admitted uint64
	lost     bool // of the key before it
}

// What the authority of a log has decided, in log order: a key history.
type history struct {
	origin        string
	peerOrigin    string
	peerAuthority []byte
	members       map[string]*member // by key id
	own           map[uint64][]ownKey
	placed        [][]byte // of each entry index and body digest
	stolen        [][]byte // log keys that others had too
}

func readTrust(file string) map[string][]byte {
	pins, lines := map[string][]byte{}, strings.Split(file, "\n")
	require(lines[0] == "ledgerd-trust/v1" && len(lines) > 2, "trust file: not one")
	require(lines[len(lines)-1] == "", "trust file: its last line does not end")
	lines, last := lines[1:len(lines)-1], ""
	for len(lines) > 0 {
		require(len(lines) >= 3, "trust file: cut short")
		origin, found := strings.CutPrefix(lines[0], "origin ")
		require(found && isOrigin(origin) && origin > last, "trust file: %.60q", lines[0])
		written, found := strings.CutPrefix(lines[1], "authority ")
		require(found, "trust file: %.60q", lines[1])
		key := parseKey(written)
		require(key.name == origin+"/authority" && key.kind == logType, "trust file: the authority of %s", origin)
		require(isPublicKey(key.public), "trust file: the authority's key is no good one")
		pins[origin], last = key.public, origin
		lines = lines[2:]
		count := 0
		for ; count < len(lines) && strings.HasPrefix(lines[count], "ca "); count++ {
			require(len(unbase64(lines[count][3:])) > 0, "trust file: an empty certificate")
		}
		require(count > 0, "trust file: %s has no certificate", origin)
		lines = lines[count:]
	}
	return pins
}

func readHistory(file string, pins map[string][]byte) *history {
	lines := strings.Split(file, "\n")
	require(len(lines) >= 4 && lines[0] == "ledgerd-keys/v1", "key history: not one")
	require(lines[len(lines)-1] == "", "key history: its last line does not end")
	log := newHistory(lines[1])
	next := uint64(0)
	for _, line := range lines[2 : len(lines)-1] {
		first, second, found := strings.Cut(line, " ")
		require(found, "key history: a line without a body")
		entry, raw := readHeader(unbase64(first)), unbase64(second)
		require(entry.index >= next, "key history: not in log order")
		log.take(entry, raw)
		next = entry.index + 1
	}
	log.checkTrusted(pins)
	return log
}

func newHistory(origin string) *history {
	require(isOrigin(origin), "key history: %.60q is no origin", origin)
	return &history{origin: origin, members: map[string]*member{}, own: map[uint64][]ownKey{}}
}

// checkTrusted: the key that is pinned is one of the authority's.
func (l *history) checkTrusted(pins map[string][]byte) {
	pin := pins[l.origin]
	require(pin != nil, "key history: %.60q is not in the trust file", l.origin)
	trusted := slices.ContainsFunc(l.own[authorityRole], func(k ownKey) bool { return bytes.Equal(k.public, pin) })
	require(trusted, "key history: %s has another authority", l.origin)
}

// decide takes an entry of which its place is said, and what the authority signed.
func (l *history) decide(index uint64, signature, raw []byte) {
	said := readBody(raw)
	require(len(signature) == 64, "key history: a signature of %d bytes", len(signature))
	kinds := map[uint64]byte{genesisRecord: genesisKind, keyRecord: keyKind, lossRecord: lossKind}
	kind, known := kinds[said.number]
	require(known, "key history: a record of another kind")
	signer := ownKey{public: said.record.bytes(4)}
	if kind != genesisKind {
		require(len(l.placed) > 0, "key history: GENESIS is missing")
		signer = l.inForce(authorityRole, index)
	}
	l.take(&header{
		index: index, kind: kind, bodyDigest: digest(raw), keyIndex: signer.admitted,
		keyID: keyID(signer.public), signature: signature, halves: []byte{0},
	}, raw)
}

// take checks the next entry of the history, and follows it.
func (l *history) take(entry *header, raw []byte) {
	require(slices.Contains(byAuthority, entry.kind), "key history: an entry of kind %d", entry.kind)
	first := len(l.placed) == 0
	require((entry.kind == genesisKind) == first && (entry.index == 0) == first, "key history: GENESIS is entry 0")
	require(bytes.Equal(digest(raw), entry.bodyDigest), "key history: the body of another entry")
	said := readBody(raw)
	record := map[byte]uint64{genesisKind: genesisRecord, keyKind: keyRecord, lossKind: lossRecord}[entry.kind]
	require(said.number == record && said.origin == l.origin && said.author == "authority", "key history: a body of another kind, log or author")
	signer := ownKey{public: said.record.bytes(4)} // GENESIS names whoever signs it
	if !first {
		signer = l.inForce(authorityRole, entry.index)
	}
	l.checkSigner(entry, signer)
	switch entry.kind {
	case genesisKind:
		l.begin(said.record)
	case keyKind:
		l.event(entry.index, said.record)
	default:
		l.loss(entry.index, said.record)
	}
	l.placed = append(l.placed, binary.BigEndian.AppendUint64(nil, entry.index), entry.bodyDigest)
}

func (l *history) checkSigner(entry *header, key ownKey) {
	named := bytes.Equal(entry.keyID, keyID(key.public)) && entry.keyIndex == key.admitted
	require(named, "entry %d: by a key that may not sign it", entry.index)
	require(verifies(key.public, entry.signedBytes(l.origin), entry.signature), "entry %d: its signature fails", entry.index)
}

func (l *history) begin(genesis message) {
	var keys [][]byte
	for at, role := range []uint64{logRole, entryRole, cosignerRole, authorityRole} {
		key := genesis.bytes(uint64(at) + 1)
		different := !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) })
		require(isPublicKey(key) && different, "GENESIS: a key that is no good one")
		keys = append(keys, key)
		l.own[role] = []ownKey{{public: key}}
	}
	l.peerOrigin, l.peerAuthority = genesis.text(5), genesis.bytes(6)
	require(isOrigin(l.peerOrigin) && l.peerOrigin != l.origin, "GENESIS: its peer")
	require(isPublicKey(l.peerAuthority), "GENESIS: its peer's authority")
}

func (l *history) event(index uint64, event message) {
	action, role, subject := event.number(1), event.number(2), event.text(3)
	public := event.bytes(4)
	require(admit <= action && action <= revoke && len(public) == 32, "KEY: its action, or its key")
	require(subject != "" && len(subject) <= 128, "KEY: whose key it is")
	require((event.bytes(5) == nil) == (action == revoke), "KEY: the possession")
	require((len(event.bytes(6)) == 33) == (action == rotate), "KEY: the key that ends")
	require((event.sub(12) != nil) == (role == regulator && action != revoke), "KEY: a regulator's grant")
	require((len(event.bytes(14)) == 32) == (role == authorityRole), "KEY: the digest of the history")
	require(event.number(13) == 0 || (event.number(13) == 1 && action == rotate && logRole <= role && role <= cosignerRole), "KEY: lost")
	switch role {
	case institution, regulator:
		l.enrolled(index, event)
	case logRole, entryRole, cosignerRole, authorityRole:
		if role == logRole && action == revoke {
			l.disowned(event)
			return
		}
		l.rotated(index, event)
	case tlsRole:
		require(action == revoke, "KEY: a certificate is revoked and nothing else")
	default:
		require(false, "KEY: role %d", role)
	}
}

func (l *history) enrolled(index uint64, event message) {
	action, role, subject := event.number(1), event.number(2), event.text(3)
	require(len(subject) <= 64, "KEY: whose key it is")
	scheme, _, dotted := strings.Cut(subject, ".")
	require(role != institution || (dotted && scheme != ""), "KEY: %.70q is no institution", subject)
	ending := event.bytes(6)
	if action == revoke {
		ending = keyID(event.bytes(4))
	}
	if ending != nil {
		old := l.members[string(ending)]
		good := old != nil && old.revoked == 0 && old.role == role && old.subject == subject
		require(good, "KEY: what ends is no good key of %s", subject)
		old.revoked = index
	}
	if action != revoke {
		l.checkNew(event.bytes(4), role, subject, event.bytes(5))
		id := string(keyID(event.bytes(4)))
		l.members[id] = &member{subject, role, event.bytes(4), index, 0}
	}
}

func (l *history) rotated(index uint64, event message) {
	role, subject, public := event.number(2), event.text(3), event.bytes(4)
	owner := "node"
	if role == authorityRole {
		owner = "authority"
	}
	require(event.number(1) == rotate && subject == owner, "KEY: a key of the %s is rotated by it", owner)
	old := l.own[role][len(l.own[role])-1]
	require(bytes.Equal(event.bytes(6), keyID(old.public)), "KEY: what ends is not in force")
	if role != authorityRole {
		l.checkNew(public, role, subject, event.bytes(5))
	} else {
		before := digest(append([][]byte{[]byte("ledgerd/history/v1\n")}, l.placed...)...)
		require(bytes.Equal(before, event.bytes(14)), "KEY: the authority's new key is bound to another history")
		require(!l.knows(public) && isPublicKey(public), "KEY: a key that the log knows, or no good one")
		bound := digest([]byte("ledgerd/authority/v1\n"), lp8(l.origin), event.bytes(6), public, before)
		require(verifies(public, bound, event.bytes(5)), "KEY: nobody shows that he has the key")
	}
	if event.number(7) > 0 {
		l.stolen = append(l.stolen, old.public)
	}
	l.own[role] = append(l.own[role], ownKey{public, index, event.number(13) == 1})
}

// disowned: a log key that was replaced, and that others had too.
func (l *history) disowned(event message) {
	public, keys := event.bytes(4), l.own[logRole]
	is := func(k ownKey) bool { return bytes.Equal(k.public, public) }
	require(event.text(3) == "node" && event.number(7) > 0, "KEY: a log key is revoked as of when it was stolen")
	require(slices.ContainsFunc(keys[:len(keys)-1], is), "KEY: what is revoked is no log key that was replaced")
	require(!l.isStolen(public), "KEY: the key is revoked already")
	l.stolen = append(l.stolen, public)
}

func (l *history) isStolen(public []byte) bool {
	return slices.ContainsFunc(l.stolen, func(k []byte) bool { return bytes.Equal(k, public) })
}

func (l *history) loss(index uint64, loss message) {
	require(loss.number(1) == index && len(loss.bytes(3)) == 32, "LOSS: of another size than its place")
	l.checkNew(loss.bytes(2), logRole, "node", loss.bytes(5))
	l.own[logRole] = append(l.own[logRole], ownKey{loss.bytes(2), index, true})
	l.checkNew(loss.bytes(4), cosignerRole, "node", loss.bytes(6))
	l.own[cosignerRole] = append(l.own[cosignerRole], ownKey{loss.bytes(4), index, true})
}

func (l *history) checkNew(public []byte, role uint64, subject string, possession []byte) {
	require(!l.knows(public) && isPublicKey(public), "KEY: a key that the log knows, or no good one")
	require(verifies(public, admissionDigest(l.origin, subject, role, public), possession), "KEY: nobody shows that he has the key")
}

func admissionDigest(origin, subject string, role uint64, public []byte) []byte {
	return digest([]byte("ledgerd/admission/v1\n"), lp8(origin), lp8(subject), []byte{byte(role)}, public)
}

func (l *history) knows(public []byte) bool {
	for _, keys := range l.own {
		if slices.ContainsFunc(keys, func(k ownKey) bool { return bytes.Equal(k.public, public) }) {
			return true
		}
	}
	return l.members[string(keyID(public))] != nil
}

// inForce is the key that signs the entry at an index, or a checkpoint of that size.
func (l *history) inForce(role, index uint64) ownKey {
	keys := l.own[role]
	for at := len(keys) - 1; at > 0; at-- {
		if keys[at].admitted < index {
			return keys[at]
		}
	}
	return keys[0]
}

// logKeys: the first must have signed a checkpoint of that size, the others may have.
func (l *history) logKeys(size uint64) (keys []noteKey) {
	present := l.inForce(logRole, size)
	keys = append(keys, noteKey{l.origin, logType, present.public})
	for at, next := range l.own[logRole][1:] {
		if next.admitted <= present.admitted && !next.lost {
			keys = append(keys, noteKey{l.origin, logType, l.own[logRole][at].public})
		}
	}
	return keys
}

// accountable: the key whose signature on that size counts against the log, if there is one.
func (l *history) accountable(size uint64) []noteKey {
	present := l.inForce(logRole, size)
	if l.isStolen(present.public) {
		return nil
	}
	return []noteKey{{l.origin, logType, present.public}}
}

// author of an entry, section 8, step 7.
func (l *history) checkAuthor(entry *header) (name string, member bool) {
	require((entry.kind == genesisKind) == (entry.index == 0), "entry %d: GENESIS is entry 0", entry.index)
	role, name := uint64(entryRole), "node"
	switch {
	case slices.Contains(byInstitutions, entry.kind):
		key := l.members[string(entry.keyID)]
		good := key != nil && key.role == institution && key.admitted == entry.keyIndex &&
			entry.keyIndex < entry.index && (key.revoked == 0 || entry.index < key.revoked)
		require(good, "entry %d: by a key that may not sign it", entry.index)
		l.checkSigner(entry, ownKey{public: key.public, admitted: key.admitted})
		return key.subject, true
	case slices.Contains(byAuthority, entry.kind):
		role, name = authorityRole, "authority"
	}
	l.checkSigner(entry, l.inForce(role, entry.index))
	return name, false
}
