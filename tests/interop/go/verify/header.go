package main

import (
	"encoding/binary"
	"slices"
)

// Kinds of entries, section 2.
const (
	genesisKind, keyKind, transferKind, ackKind, cancelKind, correctionKind = 0, 1, 2, 3, 4, 5
	lossKind, nodeKind, contractKind                                        = 8, 10, 11
)

var (
	kindNames = []string{
		"GENESIS", "KEY", "TRANSFER", "ACK", "CANCEL", "CORRECTION", "ANCHOR", "EVIDENCE", "LOSS",
		"RECORD", "NODE", "CONTRACT",
	}
	byAuthority    = []byte{genesisKind, keyKind, lossKind}
	byNode         = []byte{6, 7, nodeKind}
	byInstitutions = []byte{transferKind, ackKind, cancelKind, correctionKind, 9, contractKind}
	// Outcomes of the kinds that have halves.
	outcomes = map[byte][]byte{2: {0}, 3: {1, 2, 3, 4}, 4: {0}, 5: {0}, 11: {1, 2, 3, 4, 5}}
)

// A header of an entry, section 1.
type header struct {
	raw          []byte
	index, time  uint64
	previous     []byte
	kind         byte
	bodyDigest   []byte
	keyIndex     uint64
	keyID        []byte
	signature    []byte
	halves       []byte // from has_halves on, as it is signed
	ref, terms   []byte
	outcome      byte
	counterparty string
}

func readHeader(raw []byte) *header {
	require(len(raw) >= 190, "header: of %d bytes", len(raw))
	h := &header{
		raw: raw, index: binary.BigEndian.Uint64(raw[1:]), time: binary.BigEndian.Uint64(raw[9:]),
		previous: raw[17:49], kind: raw[49], bodyDigest: raw[50:82],
		keyIndex: binary.BigEndian.Uint64(raw[82:]), keyID: raw[90:123],
		signature: raw[125:189], halves: raw[189:],
	}
	length := binary.BigEndian.Uint16(raw[123:])
	require(raw[0] == 1 && h.keyID[0] == 1 && length == 64, "header: of another version")
	require(h.kind <= contractKind, "header: of kind %d", h.kind)
	allowed, hasHalves := outcomes[h.kind]
	if !hasHalves {
		require(len(h.halves) == 1 && h.halves[0] == 0, "header: halves where there are none")
		return h
	}
	require(len(h.halves) >= 67 && h.halves[0] == 1, "header: without its halves")
	h.ref, h.terms, h.outcome = h.halves[1:33], h.halves[33:65], h.halves[65]
	h.counterparty = string(h.halves[67:])
	require(int(h.halves[66]) == len(h.counterparty), "header: a byte left over, or missing")
	require(isOrigin(h.counterparty), "header: %.40q is no origin", h.counterparty)
	require(slices.Contains(allowed, h.outcome), "header: outcome %d", h.outcome)
	return h
}

func (h *header) signedBytes(origin string) []byte {
	parts := [][]byte{
		[]byte("ledgerd/entry/v1\n"), lp8(origin), {h.kind}, h.bodyDigest, h.keyID, h.halves,
	}
	return slices.Concat(parts...)
}

func leafHash(raw []byte) []byte { return digest([]byte{0}, raw) }
