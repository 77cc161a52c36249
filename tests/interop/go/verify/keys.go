package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"math/big"
	"slices"
)

var (
	prime    = power(2, 255, -19)
	order, _ = new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	curveD   = divide(big.NewInt(-121665), big.NewInt(121666))
	one      = big.NewInt(1)

	// The y of points of order 1, 2, 4 and 8, as section 1 lists them.
	lowOrder = []*big.Int{
		big.NewInt(0), one, new(big.Int).Sub(prime, one),
		littleEndian("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
		littleEndian("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
	}
)

func keyID(public []byte) []byte {
	return append([]byte{1}, digest([]byte("ledgerd/key/v1\n\x01"), public)...)
}

// verifies says whether an Ed25519 signature holds: RFC 8032, and no point of low order.
func verifies(public, message, signature []byte) bool {
	if len(public) != 32 || len(signature) != 64 || isLow(public) || isLow(signature[:32]) {
		return false
	}
	return ed25519.Verify(public, message, signature)
}

// Keys that isPublicKey has looked at: it is slow.
var judged = map[string]bool{}

// isPublicKey says whether a key may be admitted or pinned: canonical, and of the prime-order group.
func isPublicKey(public []byte) bool {
	good, known := judged[string(public)]
	if !known {
		good = isOfPrimeOrder(public)
		judged[string(public)] = good
	}
	return good
}

func isOfPrimeOrder(public []byte) bool {
	if len(public) != 32 || isLow(public) || encodedY(public).Cmp(prime) >= 0 {
		return false
	}
	point := decompress(public)
	return point != nil && multiply(point, order).isZero()
}

func isLow(point []byte) bool {
	y := encodedY(point)
	return slices.ContainsFunc(lowOrder, func(low *big.Int) bool { return low.Cmp(y) == 0 })
}

// encodedY reads 32 bytes as a little-endian number without the top bit.
func encodedY(point []byte) *big.Int {
	y := bytes.Clone(point)
	y[31] &= 0x7f
	slices.Reverse(y)
	return new(big.Int).SetBytes(y)
}

func littleEndian(text string) *big.Int {
	raw, _ := hex.DecodeString(text)
	slices.Reverse(raw)
	return new(big.Int).SetBytes(raw)
}

// The curve -x² + y² = 1 + d·x²·y² over the field of 2²⁵⁵ - 19, slowly: a key is looked at once.

type point struct{ x, y *big.Int }

func (p point) isZero() bool { return p.x.Sign() == 0 && p.y.Cmp(one) == 0 }

func decompress(encoded []byte) *point {
	y := encodedY(encoded)
	square := times(y, y)
	above := new(big.Int).Sub(square, one)
	below := new(big.Int).Add(times(curveD, square), one)
	x := new(big.Int).ModSqrt(divide(above, below), prime)
	if x == nil || (x.Sign() == 0 && encoded[31]>>7 == 1) {
		return nil
	}
	if x.Bit(0) != uint(encoded[31]>>7) {
		x.Sub(prime, x)
	}
	return &point{x, y}
}

func (p point) plus(q point) point {
	across := times(p.x, q.y)
	across.Add(across, times(q.x, p.y))
	along := new(big.Int).Add(times(p.y, q.y), times(p.x, q.x))
	all := times(curveD, times(times(p.x, q.x), times(p.y, q.y)))
	return point{
		divide(across, new(big.Int).Add(one, all)),
		divide(along, new(big.Int).Sub(one, all)),
	}
}

func multiply(p *point, factor *big.Int) point {
	sum := point{big.NewInt(0), big.NewInt(1)}
	for bit := factor.BitLen() - 1; bit >= 0; bit-- {
		sum = sum.plus(sum)
		if factor.Bit(bit) == 1 {
			sum = sum.plus(*p)
		}
	}
	return sum
}

func times(a, b *big.Int) *big.Int {
	product := new(big.Int).Mul(a, b)
	return product.Mod(product, prime)
}

func divide(a, b *big.Int) *big.Int {
	return times(a, new(big.Int).ModInverse(new(big.Int).Mod(b, prime), prime))
}

func power(base, exponent, offset int64) *big.Int {
	value := new(big.Int).Exp(big.NewInt(base), big.NewInt(exponent), nil)
	return value.Add(value, big.NewInt(offset))
}
