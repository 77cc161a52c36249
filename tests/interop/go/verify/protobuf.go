package main

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// What a field of a message is; a schema has all that a message may hold.
type fieldType int

const (
	number fieldType = iota
	text
	octets
	submessage
	packed
	opaque // a record that is not looked into; it may be empty
)

type field struct {
	is  fieldType
	sub schema
}

type schema map[uint64]field

// A message: uint64, string, []byte, message or []uint64 by field number.
type message map[uint64]any

var (
	genesisSchema = schema{1: {is: octets}, 2: {is: octets}, 3: {is: octets}, 4: {is: octets}, 5: {is: text}, 6: {is: octets}}
	grantSchema   = schema{1: {is: packed}, 2: {is: packed}, 3: {is: packed}, 4: {is: number}, 5: {is: number}}
	eventSchema   = schema{
		1: {is: number}, 2: {is: number}, 3: {is: text}, 4: {is: octets}, 5: {is: octets}, 6: {is: octets},
		7: {is: number}, 8: {is: number}, 9: {is: number}, 10: {is: text}, 11: {is: text},
		12: {submessage, grantSchema}, 13: {is: number}, 14: {is: octets},
	}
	lossSchema = schema{1: {is: number}, 2: {is: octets}, 3: {is: octets}, 4: {is: octets}, 5: {is: octets}, 6: {is: octets}}
	bodySchema = makeBodySchema()
)

// Field numbers of records in a body.
const (
	genesisRecord, keyRecord, lossRecord, ruleSetRecord, findingRecord = 16, 17, 24, 25, 26
	firstRecord, lastRecord                                            = 16, 42
)

func makeBodySchema() schema {
	made := schema{1: {is: octets}, 2: {is: text}, 3: {is: text}, 4: {is: octets}, 5: {is: number}}
	for record := uint64(firstRecord); record <= lastRecord; record++ {
		made[record] = field{is: opaque}
	}
	made[genesisRecord] = field{submessage, genesisSchema}
	made[keyRecord] = field{submessage, eventSchema}
	made[lossRecord] = field{submessage, lossSchema}
	return made
}

// A body: what all have, and its one record.
type body struct {
	origin, author string
	number         uint64
	record         message // of GENESIS, KEY and LOSS
	raw            []byte  // of any other
}

// readBody reads a canonical body, section 3.
func readBody(data []byte) *body {
	require(len(data) <= 32<<10, "body: of %d bytes", len(data))
	fields := decode(data, bodySchema)
	b := &body{origin: fields.text(2), author: fields.text(3)}
	id := fields.bytes(4)
	require(len(fields.bytes(1)) == 16, "body: a salt is 16 bytes")
	require(len(id) == 16 && id[6]>>4 == 7 && id[8]>>6 == 2, "body: a record_id is a UUIDv7")
	require(isOrigin(b.origin) && b.author != "" && fields.number(5) > 0, "body: a field is missing")
	for at := range fields {
		if at >= firstRecord {
			require(b.number == 0, "body: two records")
			b.number = at
		}
	}
	require(b.number != 0, "body: no record")
	b.record, _ = fields[b.number].(message)
	b.raw, _ = fields[b.number].([]byte)
	return b
}

// decode reads a message in its canonical encoding: no other would be made of its values.
func decode(data []byte, known schema) message {
	found, last := message{}, uint64(0)
	for len(data) > 0 {
		tag, rest := varint(data)
		at, wire := tag>>3, tag&7
		is, ok := known[at]
		require(ok && at > last, "protobuf: field %d is unknown, or not in order", at)
		require((is.is == number) == (wire == 0) && (wire == 0 || wire == 2), "protobuf: wire type %d", wire)
		value, rest := varint(rest)
		require(value > 0 || is.is == opaque || is.is == submessage, "protobuf: field %d is at its default", at)
		if wire == 2 {
			require(value <= uint64(len(rest)), "protobuf: cut short")
			found[at] = is.read(rest[:value])
			rest = rest[value:]
		} else {
			found[at] = value
		}
		data, last = rest, at
	}
	return found
}

func (f field) read(data []byte) any {
	switch f.is {
	case text:
		require(isText(data), "protobuf: text with characters that no text holds")
		return string(data)
	case submessage:
		return decode(data, f.sub)
	case packed:
		var list []uint64
		for len(data) > 0 {
			value, rest := varint(data)
			list, data = append(list, value), rest
		}
		return list
	default:
		return data
	}
}

// walk reads a message without its schema: numbers and bytes, the last one of each field.
func walk(data []byte) message {
	found := message{}
	for len(data) > 0 {
		tag, rest := varint(data)
		value, rest := varint(rest)
		require(tag&7 == 0 || tag&7 == 2, "protobuf: wire type %d", tag&7)
		if tag&7 == 2 {
			require(value <= uint64(len(rest)), "protobuf: cut short")
			found[tag>>3], data = rest[:value], rest[value:]
		} else {
			found[tag>>3], data = value, rest
		}
	}
	return found
}

func varint(data []byte) (value uint64, rest []byte) {
	for at, b := range data {
		require(at < 9 || (at == 9 && b == 1), "protobuf: a number beyond 64 bits")
		value |= uint64(b&0x7f) << (7 * at)
		if b < 0x80 {
			require(at == 0 || b > 0, "protobuf: a number longer than it need be")
			return value, data[at+1:]
		}
	}
	panic(refusal("protobuf: cut short"))
}

func isText(data []byte) bool {
	unseen := [][2]rune{
		{0, 0x1f}, {0x7f, 0x9f}, {0xad, 0xad}, {0x61c, 0x61c}, {0x180e, 0x180e}, {0x200b, 0x200f},
		{0x2028, 0x202e}, {0x2060, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f},
	}
	return utf8.Valid(data) && !slices.ContainsFunc(bytes.Runes(data), func(r rune) bool {
		return slices.ContainsFunc(unseen, func(span [2]rune) bool { return span[0] <= r && r <= span[1] })
	})
}

func (m message) number(at uint64) uint64 { value, _ := m[at].(uint64); return value }
func (m message) bytes(at uint64) []byte  { value, _ := m[at].([]byte); return value }
func (m message) sub(at uint64) message   { value, _ := m[at].(message); return value }

func (m message) text(at uint64) string {
	if value, ok := m[at].(string); ok {
		return value
	}
	return string(m.bytes(at))
}
