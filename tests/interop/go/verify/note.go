package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	logType      = 1
	cosignerType = 4
	maxNote      = 64 << 10
)

// A key under a name, section 6.
type noteKey struct {
	name   string
	kind   byte
	public []byte
}

func (k noteKey) id() []byte {
	hash := sha256.Sum256(append([]byte(k.name+"\n"+string(rune(k.kind))), k.public...))
	return hash[:4]
}

func (k noteKey) String() string { return k.name + string(rune(k.kind)) + string(k.public) }

// parseKey reads a verifier key.
func parseKey(written string) noteKey {
	name, rest, _ := strings.Cut(written, "+")
	id, encoded, _ := strings.Cut(rest, "+")
	typed := unbase64(encoded)
	require(len(typed) == 33, "verifier key: of %d bytes", len(typed))
	key := noteKey{name, typed[0], typed[1:]}
	require(id == hex.EncodeToString(key.id()), "verifier key: its id is not that of its key")
	return key
}

type signature struct {
	name string
	id   []byte
	data []byte
}

// A checkpoint as it was signed; nothing is verified yet.
type checkpoint struct {
	text       string
	origin     string
	size       uint64
	root       []byte
	signatures []signature
}

func readCheckpoint(note string) *checkpoint {
	require(len(note) <= maxNote && utf8.ValidString(note), "checkpoint: too long, or no text")
	at := strings.LastIndex(note, "\n\n")
	require(at >= 0, "checkpoint: no signatures")
	read := &checkpoint{text: note[:at+1]}
	lines := strings.Split(read.text, "\n")
	require(len(lines) == 4 && lines[3] == "", "checkpoint: a text of other than three lines")
	require(isOrigin(lines[0]), "checkpoint: %.40q is no origin", lines[0])
	read.origin, read.size, read.root = lines[0], decimal(lines[1]), hash32(lines[2])
	require(read.size < 1<<63, "checkpoint: of 2^63 entries or more")
	signed := strings.Split(note[at+2:], "\n")
	count := len(signed) - 1
	require(0 < count && count <= 100 && signed[count] == "", "checkpoint: its signature lines")
	for _, line := range signed[:count] {
		read.signatures = append(read.signatures, readSignature(line))
	}
	return read
}

func readSignature(line string) signature {
	parts := strings.Split(line, " ")
	require(len(parts) == 3 && parts[0] == "\u2014", "checkpoint: a signature line")
	odd := strings.ContainsFunc(parts[1], func(r rune) bool {
		return unicode.IsSpace(r) || r < 0x20 || r == '+'
	})
	require(parts[1] != "" && !odd, "checkpoint: a name that none signs by")
	data := unbase64(parts[2])
	require(len(data) > 4, "checkpoint: an empty signature")
	return signature{parts[1], data[:4], data[4:]}
}

// signers checks every line by a known key, and tells who signed: seconds for a cosignature.
// strict refuses all other lines, and a second one by the same key.
func (c *checkpoint) signers(known []noteKey, strict bool) map[string]uint64 {
	signed := map[string]uint64{}
	for _, line := range c.signatures {
		key := find(known, line)
		if key == nil {
			require(!strict, "checkpoint: a line by an unknown key of %s", line.name)
			continue
		}
		_, again := signed[key.String()]
		require(!strict || !again, "checkpoint: %s signs twice", line.name)
		seconds := c.check(*key, line.data)
		signed[key.String()] = max(seconds, signed[key.String()])
	}
	return signed
}

func find(known []noteKey, line signature) *noteKey {
	var found *noteKey
	for _, key := range known {
		if key.name == line.name && bytes.Equal(key.id(), line.id) {
			require(found == nil || found.String() == key.String(), "checkpoint: two keys of %s have one id", line.name)
			found = &key
		}
	}
	return found
}

func (c *checkpoint) check(key noteKey, data []byte) (seconds uint64) {
	said := c.text
	if key.kind == cosignerType {
		require(len(data) == 72, "checkpoint: a cosignature of %d bytes", len(data))
		seconds = binary.BigEndian.Uint64(data)
		require(seconds < 1<<63, "checkpoint: a cosignature's time")
		said, data = "cosignature/v1\ntime "+utoa(seconds)+"\n"+said, data[8:]
	}
	require(verifies(key.public, []byte(said), data), "checkpoint: the signature of %s fails", key.name)
	return seconds
}
