package main

import (
	"bytes"
	"fmt"
	"strings"
)

// What a receipt proves.
type proven struct {
	entry      *header
	author     string
	isMember   bool
	cosignedAt uint64 // seconds; 0: not cosigned by a key still good
}

func (p *proven) String() string {
	seen := "not cosigned"
	if p.cosignedAt > 0 {
		seen = "cosigned"
	}
	return fmt.Sprintf("%s %d by %s at %d µs, %s", kindNames[p.entry.kind], p.entry.index, p.author, p.entry.time, seen)
}

// A receipt as it was read; nothing is verified yet.
type receipt struct {
	entry *header
	proof [][]byte
	tree  *checkpoint
}

func readReceipt(file string) *receipt {
	top, note, found := strings.Cut(file, "\n\n")
	require(found, "receipt: without a checkpoint")
	lines := strings.Split(top, "\n")
	require(len(lines) >= 3 && lines[0] == "c2sp.org/tlog-proof@v1", "receipt: not one")
	extra, isExtra := strings.CutPrefix(lines[1], "extra ")
	index, isIndex := strings.CutPrefix(lines[2], "index ")
	require(isExtra && isIndex && len(lines) <= 3+64, "receipt: its lines")
	read := &receipt{entry: readHeader(unbase64(extra)), tree: readCheckpoint(note)}
	require(decimal(index) == read.entry.index, "receipt: the index is not the header's")
	for _, line := range lines[3:] {
		read.proof = append(read.proof, hash32(line))
	}
	return read
}

func checkReceipt(file string, logs map[string]*history, cosigned bool) *proven {
	read := readReceipt(file)
	entry, tree := read.entry, read.tree
	log := logs[tree.origin]
	require(log != nil, "receipt: no key history of %s was given", tree.origin)
	at := log.open(tree, logs)
	require(at > 0 || !cosigned, "receipt: it is not cosigned")
	checkInclusion(leafHash(entry.raw), entry.index, tree.size, read.proof, tree.root)
	author, isMember := log.checkAuthor(entry)
	return &proven{entry, author, isMember, at}
}

// open checks who signed a checkpoint in a file, and tells when the peer cosigned it.
func (l *history) open(tree *checkpoint, logs map[string]*history) uint64 {
	keys := l.logKeys(tree.size)
	known, peer := keys, logs[l.peerOrigin]
	var cosigner noteKey
	if peer != nil {
		for _, key := range peer.own[cosignerRole] {
			cosigner = noteKey{peer.origin, cosignerType, key.public}
			known = append(known, cosigner)
		}
	}
	signed := tree.signers(known, true)
	_, byLog := signed[keys[0].String()]
	require(byLog, "checkpoint: not signed by the log's key of that size")
	// A retired cosigner key may be anybody's by now.
	at := signed[cosigner.String()]
	newest := l.own[logRole][len(l.own[logRole])-1]
	retired := !bytes.Equal(newest.public, keys[0].public)
	require(!retired || at > 0, "checkpoint: under a retired key, and not cosigned by a key still good")
	return at
}
