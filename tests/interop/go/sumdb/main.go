// Sumdb checks a published log with Go's own note and tlog packages: those of the checksum database.
//
//	sumdb <directory or URL> <log verifier key> <index>...
//
// Older than v0.42.0 golang.org/x/mod believes tiles that it has not compared with their parents.
//
// It opens the checkpoint, reads tiles (each checked against the root as it is), proves each of the
// entries and that every earlier size named in old=<size>:<base64 root> is a prefix.
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: sumdb <URL> <verifier key> <index>... [old=<size>:<root>]...")
		os.Exit(2)
	}
	if err := check(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "does not verify:", err)
		os.Exit(1)
	}
}

func check(prefix, vkey string, claims []string) error {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return err
	}
	raw, err := fetch(prefix + "/checkpoint")
	if err != nil {
		return err
	}
	opened, err := note.Open(raw, note.VerifierList(verifier))
	if err != nil {
		return err
	}
	tree, err := parseTree(opened.Text, verifier.Name())
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, &published{prefix})
	for _, claim := range claims {
		if old, found := strings.CutPrefix(claim, "old="); found {
			err = checkPrefix(tree, hashes, old)
		} else {
			err = checkEntry(prefix, tree, hashes, claim)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", claim, err)
		}
	}
	fmt.Printf("%s: %d entries, root %s, %d claims proven\n", verifier.Name(), tree.N, tree.Hash, len(claims))
	return nil
}

func parseTree(text, origin string) (tree tlog.Tree, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] != origin || lines[3] != "" {
		return tree, fmt.Errorf("a checkpoint is three lines, the first %q", origin)
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	return tree, err
}

func checkEntry(prefix string, tree tlog.Tree, hashes tlog.HashReader, claim string) error {
	index, err := strconv.ParseInt(claim, 10, 64)
	if err != nil {
		return err
	}
	entry, err := readEntry(prefix, tree, index)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveRecord(tree.N, index, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(entry))
}

func checkPrefix(tree tlog.Tree, hashes tlog.HashReader, claim string) error {
	size, root, _ := strings.Cut(claim, ":")
	old, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return err
	}
	hash, err := base64.StdEncoding.DecodeString(root)
	if err != nil || len(hash) != tlog.HashSize {
		return fmt.Errorf("not a root: %q", root)
	}
	proof, err := tlog.ProveTree(tree.N, old, hashes)
	if err != nil {
		return err
	}
	return tlog.CheckTree(proof, tree.N, tree.Hash, old, tlog.Hash(hash))
}

// readEntry takes an entry out of its bundle (C2SP tlog-tiles).
func readEntry(prefix string, tree tlog.Tree, index int64) ([]byte, error) {
	number := index / 256
	width := int(min(256, tree.N-number*256))
	path := tlog.Tile{H: 8, L: 0, N: number, W: width}.Path()
	bundle, err := fetch(prefix + "/tile/entries/" + strings.TrimPrefix(path, "tile/8/0/"))
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for len(bundle) >= 2 {
		size := int(binary.BigEndian.Uint16(bundle))
		if len(bundle) < 2+size {
			break
		}
		entries, bundle = append(entries, bundle[2:2+size]), bundle[2+size:]
	}
	if len(bundle) != 0 || len(entries) != width {
		return nil, fmt.Errorf("a bundle of %d entries, not of %d", len(entries), width)
	}
	return entries[index%256], nil
}

// published reads tiles where C2SP puts them; the checksum database has their height in the path.
type published struct{ prefix string }

func (*published) Height() int { return 8 }

func (p *published) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := fetch(p.prefix + "/tile/" + strings.TrimPrefix(tile.Path(), "tile/8/"))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func (*published) SaveTiles([]tlog.Tile, [][]byte) {}

func fetch(url string) ([]byte, error) {
	client := &http.Client{Timeout: 10 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	return io.ReadAll(io.LimitReader(response.Body, 1<<25))
}
