package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// A dispute bundle, section 9. The order of fields is the file's.
type bundle struct {
	Format string `json:"format"`
	Ref    string `json:"ref"`
	State  string `json:"state"`
	Sides  []side `json:"sides"`
}

type side struct {
	Origin   string     `json:"origin"`
	Keys     []item     `json:"keys"`
	PeerKeys []decision `json:"peer_keys"`
	RuleSets []item     `json:"rule_sets"`
	Halves   []item     `json:"halves"`
	Findings []item     `json:"findings"`
}

type decision struct {
	Index     uint64 `json:"index"`
	Signature string `json:"signature"`
	Body      string `json:"body"`
}

type item struct {
	Receipt string `json:"receipt"`
	Body    string `json:"body"`
}

// A half as the table of section 9 looks at it. counterparty: empty where its terms are not here.
type half struct {
	kind         byte
	index, time  uint64
	terms        string
	outcome      byte
	author       string
	counterparty string
}

func checkBundle(file string, pins map[string][]byte) string {
	read := readBundle(file)
	ref, err := hex.DecodeString(read.Ref)
	require(err == nil && len(ref) == 32 && hex.EncodeToString(ref) == read.Ref, "bundle: its ref")
	require(read.Format == "ledgerd-bundle/v1" && 1 <= len(read.Sides) && len(read.Sides) <= 2, "bundle: not one")
	halves := make([][]half, 2)
	var logs []*history
	for at, one := range read.Sides {
		log, found := one.check(ref, pins)
		require(at == 0 || read.Sides[0].Origin < one.Origin, "bundle: its sides are not in order")
		logs, halves[at] = append(logs, log), found
	}
	peers := len(logs) == 1 || logs[0].peerOrigin == logs[1].origin
	require(peers, "bundle: the two sides are not each other's peers")
	state := derive(halves[0], halves[1])
	require(state == read.State, "bundle: it says %q, and its halves come to %q", read.State, state)
	return fmt.Sprintf("transfer %s is %s, by %d side(s)", read.Ref, state, len(logs))
}

// readBundle takes the one spelling: what the same values would be written as.
func readBundle(file string) (read bundle) {
	decoder := json.NewDecoder(strings.NewReader(file))
	decoder.DisallowUnknownFields()
	require(decoder.Decode(&read) == nil, "bundle: not one")
	var written bytes.Buffer
	encoder := json.NewEncoder(&written)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	require(encoder.Encode(read) == nil && written.String() == file, "bundle: not as it was written")
	return read
}

func (s side) check(ref []byte, pins map[string][]byte) (*history, []half) {
	own, peer := s.histories(pins)
	named := slices.ContainsFunc(peer.own[authorityRole], func(k ownKey) bool {
		return bytes.Equal(k.public, own.peerAuthority)
	})
	require(named, "bundle: %s names another authority of its peer", own.origin)
	logs := map[string]*history{own.origin: own, peer.origin: peer}
	for _, one := range s.Keys {
		one.proven(logs)
	}
	var halves []half
	var indexes []uint64
	for _, one := range s.Halves {
		found := one.half(own, peer, logs, ref)
		halves, indexes = append(halves, found), append(indexes, found.index)
	}
	require(len(halves) > 0 && ascends(indexes), "bundle: %s shows no half, or not in log order", own.origin)
	ruleSets := map[uint64]bool{}
	for _, one := range s.RuleSets {
		entry, _ := one.byNode(own, logs, ruleSetRecord)
		ruleSets[entry.index] = true
	}
	indexes = nil
	for _, one := range s.Findings {
		entry, finding := one.byNode(own, logs, findingRecord)
		require(bytes.Equal(finding.bytes(6), ref), "bundle: finding %d is of another transfer", entry.index)
		require(ruleSets[finding.number(5)], "bundle: the rule set of finding %d is missing", entry.index)
		indexes = append(indexes, entry.index)
	}
	require(ascends(indexes), "bundle: findings are not in log order")
	return own, halves
}

func (s side) histories(pins map[string][]byte) (own, peer *history) {
	own, next := newHistory(s.Origin), uint64(0)
	for _, one := range s.Keys {
		entry := readReceipt(one.Receipt).entry
		require(entry.index >= next, "bundle: keys are not in log order")
		own.take(entry, unbase64(one.Body))
		next = entry.index + 1
	}
	own.checkTrusted(pins)
	peer, next = newHistory(own.peerOrigin), 0
	for _, one := range s.PeerKeys {
		require(one.Index >= next, "bundle: peer_keys are not in log order")
		peer.decide(one.Index, unbase64(one.Signature), unbase64(one.Body))
		next = one.Index + 1
	}
	peer.checkTrusted(pins)
	return own, peer
}

func ascends(indexes []uint64) bool {
	return slices.IsSorted(indexes) && len(slices.Compact(slices.Clone(indexes))) == len(indexes)
}

// proven checks the receipt, with its cosignature, and the body if it is there.
func (i item) proven(logs map[string]*history) (*proven, *body) {
	found := checkReceipt(i.Receipt, logs, true)
	raw := unbase64(i.Body)
	if len(raw) == 0 {
		return found, nil
	}
	require(bytes.Equal(digest(raw), found.entry.bodyDigest), "bundle: the body of another entry")
	return found, readBody(raw)
}

func (i item) half(own, peer *history, logs map[string]*history, ref []byte) half {
	found, said := i.proven(logs)
	entry := found.entry
	isHalf := transferKind <= entry.kind && entry.kind <= correctionKind
	require(isHalf && bytes.Equal(entry.ref, ref), "bundle: entry %d is no half of this transfer", entry.index)
	require(found.isMember && entry.counterparty == peer.origin, "bundle: entry %d is of another border", entry.index)
	made := half{entry.kind, entry.index, entry.time, string(entry.terms), entry.outcome, found.author, ""}
	if said != nil {
		made.counterparty = checkHalfBody(entry, said, own, found.author)
	}
	return made
}

// checkHalfBody compares a half's body with its header, and names the institution across the border.
func checkHalfBody(entry *header, said *body, own *history, author string) string {
	records := map[byte]uint64{transferKind: 18, ackKind: 19, cancelKind: 20, correctionKind: 21}
	require(said.number == records[entry.kind] && said.origin == own.origin && said.author == author, "bundle: entry %d and its body", entry.index)
	record := walk(said.raw)
	raw := record.bytes(1)
	require(bytes.Equal(digest(raw), entry.terms), "bundle: entry %d states other terms", entry.index)
	require(entry.kind != ackKind || record.number(2) == uint64(entry.outcome), "bundle: entry %d and its outcome", entry.index)
	terms := walk(raw)
	exporter, recipient := walk(terms.bytes(1)), walk(terms.bytes(2))
	nonce := digest([]byte("ledgerd/transfer-ref/v1\n"), lp8(exporter.text(1)), lp8(exporter.text(2)), terms.bytes(3))
	require(bytes.Equal(nonce, entry.ref), "bundle: entry %d is of other parties", entry.index)
	mine, other := exporter, recipient
	if entry.kind == ackKind || (entry.kind == correctionKind && recipient.text(1) == own.origin) {
		mine, other = recipient, exporter
	}
	party := mine.text(1) == own.origin && mine.text(2) == author && other.text(1) == entry.counterparty
	require(party, "bundle: entry %d is not of the party that may state it", entry.index)
	return other.text(2)
}

func (i item) byNode(own *history, logs map[string]*history, record uint64) (*header, message) {
	found, said := i.proven(logs)
	its := said != nil && found.entry.kind == nodeKind && said.origin == own.origin && said.author == "node"
	require(its && said.number == record, "bundle: entry %d is not the record it should be", found.entry.index)
	return found.entry, walk(said.raw)
}

// derive is the table of section 9.
func derive(one, other []half) string {
	exporter, recipient := parties(one[:min(100, len(one))], other[:min(100, len(other))])
	transfers, cancels, acks := of(exporter, transferKind), of(exporter, cancelKind), of(recipient, ackKind)
	if len(transfers) == 0 || len(acks) == 0 {
		if len(cancels) > 0 && len(acks) == 0 {
			return "cancelled"
		}
		return "one_sided"
	}
	ack := acks[len(acks)-1]
	if at := slices.IndexFunc(acks, func(h half) bool { return h.outcome == 1 }); at >= 0 {
		ack = acks[at]
	}
	received := ack.outcome <= 2
	switch {
	case len(cancels) > 0 && (!received || cancels[0].time < ack.time):
		return "cancelled"
	case ack.outcome == 2:
		return "partial"
	case !received:
		return "refused"
	case newest(exporter, transfers[0]) == newest(recipient, ack):
		return "matched"
	}
	return "mismatched"
}

func parties(one, other []half) (exporter, recipient []half) {
	if !exports(one, other) {
		one, other = other, one
	}
	exporter = slices.DeleteFunc(slices.Clone(one), func(h half) bool { return h.kind == ackKind })
	recipient = slices.DeleteFunc(slices.Clone(other), func(h half) bool {
		return h.kind != ackKind && h.kind != correctionKind
	})
	if len(recipient) > 0 {
		exporter = by(recipient[0].counterparty, exporter)
	}
	named := ""
	if transfers := of(exporter, transferKind); len(transfers) > 0 {
		named = transfers[0].counterparty
	} else if len(exporter) > 0 {
		named = exporter[0].counterparty
	}
	if named == "" {
		named = meant(exporter, recipient)
	}
	return exporter, by(named, recipient)
}

func exports(one, other []half) bool {
	for at, halves := range [][]half{one, other} {
		for _, h := range halves {
			if h.kind != correctionKind {
				return (at == 0) == (h.kind != ackKind)
			}
		}
	}
	return true
}

func meant(exporter, recipient []half) string {
	for _, stated := range exporter {
		for _, h := range recipient {
			if h.terms == stated.terms {
				return h.author
			}
		}
	}
	return ""
}

func by(author string, halves []half) []half {
	if author == "" {
		return halves
	}
	return slices.DeleteFunc(slices.Clone(halves), func(h half) bool { return h.author != author })
}

func of(halves []half, kind byte) []half {
	return slices.DeleteFunc(slices.Clone(halves), func(h half) bool { return h.kind != kind })
}

func newest(halves []half, base half) string {
	terms := base.terms
	for _, h := range of(halves, correctionKind) {
		if h.index > base.index && h.author == base.author {
			terms = h.terms
		}
	}
	return terms
}
