package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
)

// A refusal ends the verification: it is thrown by require and caught by main.
type refusal string

func require(condition bool, format string, values ...any) {
	if !condition {
		panic(refusal(fmt.Sprintf(format, values...)))
	}
}

func digest(parts ...[]byte) []byte {
	hash := sha256.New()
	for _, part := range parts {
		hash.Write(part)
	}
	return hash.Sum(nil)
}

func lp8(text string) []byte {
	require(len(text) < 256, "a text of %d bytes has no length in one byte", len(text))
	return append([]byte{byte(len(text))}, text...)
}

func u64(value uint64) []byte { return binary.BigEndian.AppendUint64(nil, value) }

// unbase64 reads base64 in its one spelling; Go's decoder alone skips line ends.
func unbase64(text string) []byte {
	raw, err := base64.StdEncoding.DecodeString(text)
	canonical := err == nil && base64.StdEncoding.EncodeToString(raw) == text
	require(canonical, "not canonical base64: %.40q", text)
	return raw
}

func decimal(text string) uint64 {
	value, err := strconv.ParseUint(text, 10, 64)
	require(err == nil && strconv.FormatUint(value, 10) == text, "not a canonical decimal: %.40q", text)
	return value
}

func hash32(text string) []byte {
	hash := unbase64(text)
	require(len(hash) == 32, "a hash is 32 bytes")
	return hash
}

func isOrigin(text string) bool {
	for _, c := range []byte(text) {
		if c < 0x21 || c > 0x7e || c == '+' {
			return false
		}
	}
	return len(text) > 0 && len(text) <= 200
}

func utoa(value uint64) string { return strconv.FormatUint(value, 10) }
