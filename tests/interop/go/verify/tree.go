package main

import (
	"bytes"
	"math/bits"
)

// Proofs of RFC 9162, sections 2.1.3.2 and 2.1.4.2.

func inner(left, right []byte) []byte { return digest([]byte{1}, left, right) }

func checkInclusion(leaf []byte, index, size uint64, proof [][]byte, root []byte) {
	require(index < size && size < 1<<63, "inclusion proof: there is no entry %d of %d", index, size)
	at, last, node := index, size-1, leaf
	for _, sibling := range proof {
		require(last > 0, "inclusion proof: too long")
		if at&1 == 1 || at == last {
			node = inner(sibling, node)
			skip := bits.TrailingZeros64(at)
			at, last = at>>skip, last>>skip
		} else {
			node = inner(node, sibling)
		}
		at, last = at>>1, last>>1
	}
	require(last == 0 && bytes.Equal(node, root), "inclusion proof: leads to another root")
}

func checkConsistency(old uint64, oldRoot []byte, size uint64, root []byte, proof [][]byte) {
	require(0 < old && old < size, "consistency proof: from %d to %d", old, size)
	if old&(old-1) == 0 {
		proof = append([][]byte{oldRoot}, proof...)
	}
	require(len(proof) > 0, "consistency proof: empty")
	skip := bits.TrailingZeros64(old)
	at, last := (old-1)>>skip, (size-1)>>skip
	one, other := proof[0], proof[0]
	for _, sibling := range proof[1:] {
		require(last > 0, "consistency proof: too long")
		if at&1 == 1 || at == last {
			one, other = inner(sibling, one), inner(sibling, other)
			for at&1 == 0 && at != 0 {
				at, last = at>>1, last>>1
			}
		} else {
			other = inner(other, sibling)
		}
		at, last = at>>1, last>>1
	}
	require(last == 0, "consistency proof: too short")
	require(bytes.Equal(one, oldRoot) && bytes.Equal(other, root), "consistency proof: leads to another root")
}
