package main

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

type vectors struct {
	Trust struct{ File string }
	Logs  []struct {
		Origin     string
		KeyHistory string `json:"key_history"`
	}
	Receipts []struct {
		File     string
		Cosigned bool
	}
	Bundles  []struct{ State, File string }
	Evidence []struct{ Claim, File string }
	Rotation struct {
		Trust, Bundle string
		Logs          []struct {
			Origin     string
			KeyHistory string `json:"key_history"`
		}
		Receipts, Evidence []struct{ What, File string }

		Refuse map[string][]struct{ Reason, Value string }
	}
	Refuse map[string][]struct{ Reason, Layer, Value string }
}

func load(t *testing.T) (v vectors) {
	raw, err := os.ReadFile("../../../vectors/format.json")
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// ours is why something is refused; "" when it is not.
func ours(do func()) (reason string) {
	defer func() {
		if thrown := recover(); thrown != nil {
			reason = string(thrown.(refusal))
		}
	}()
	do()
	return ""
}

func histories(v vectors) map[string]*history {
	logs := map[string]*history{}
	for _, log := range v.Logs {
		logs[log.Origin] = readHistory(log.KeyHistory, readTrust(v.Trust.File))
	}
	return logs
}

func TestReceiptsOfTheVectorsVerify(t *testing.T) {
	v := load(t)
	logs := histories(v)
	for at, one := range v.Receipts {
		if reason := ours(func() { checkReceipt(one.File, logs, one.Cosigned) }); reason != "" {
			t.Errorf("receipt %d: %s", at, reason)
		}
	}
}

func TestACosignatureThatIsDemandedIsThere(t *testing.T) {
	v := load(t)
	for _, one := range v.Receipts {
		if !one.Cosigned && ours(func() { checkReceipt(one.File, histories(v), true) }) == "" {
			t.Error("a receipt that is not cosigned passes for one that is")
		}
	}
}

func TestWhatMustBeRefusedIsRefused(t *testing.T) {
	v := load(t)
	pins, logs := readTrust(v.Trust.File), histories(v)
	readers := map[string]func(string){
		"trust_files":   func(file string) { readTrust(file) },
		"key_histories": func(file string) { readHistory(file, pins) },
		"receipts":      func(file string) { checkReceipt(file, logs, false) },
		"evidence":      func(file string) { checkEvidence(file, logs) },
		"bundles":       func(file string) { checkBundle(file, pins) },
		"headers": func(value string) {
			raw, _ := hex.DecodeString(value)
			readHeader(raw)
		},
	}
	for name, read := range readers {
		for _, one := range v.Refuse[name] {
			if ours(func() { read(one.Value) }) == "" {
				t.Errorf("%s: %s", name, one.Reason)
			}
		}
	}
}

func TestNoByteOfAFileIsIdle(t *testing.T) {
	v := load(t)
	pins, logs := readTrust(v.Trust.File), histories(v)
	files := map[string]func(string){
		v.Receipts[6].File: func(file string) { checkReceipt(file, logs, false) },
	}
	for _, one := range v.Evidence {
		files[one.File] = func(file string) { checkEvidence(file, logs) }
	}
	for _, one := range v.Bundles[:min(1, len(v.Bundles))] {
		files[one.File] = func(file string) { checkBundle(file, pins) }
	}
	for file, read := range files {
		for at := 0; at < len(file); at += 1 + len(file)/3000 {
			changed := []string{
				file[:at] + string([]byte{file[at] ^ 1}) + file[at+1:], file[:at] + file[at+1:],
				file[:at] + file[at:at+1] + file[at:],
			}
			for _, one := range changed {
				if ours(func() { read(one) }) == "" {
					t.Errorf("%.25q: byte %d may be another", file, at)
				}
			}
		}
	}
}

func TestBundlesOfTheVectorsVerify(t *testing.T) {
	v := load(t)
	for at, one := range v.Bundles {
		reason := ours(func() {
			said := checkBundle(one.File, readTrust(v.Trust.File))
			require(strings.Contains(said, one.State), "it comes to %s", said)
		})
		if reason != "" {
			t.Errorf("bundle %d: %s", at, reason)
		}
	}
}

func TestEvidenceOfTheVectorsVerifies(t *testing.T) {
	v := load(t)
	for _, one := range v.Evidence {
		if reason := ours(func() { checkEvidence(one.File, histories(v)) }); reason != "" {
			t.Errorf("%s: %s", one.Claim, reason)
		}
	}
}

func TestKeysThatWereRotatedAreFollowed(t *testing.T) {
	v := load(t).Rotation
	pins, logs := readTrust(v.Trust), map[string]*history{}
	for _, log := range v.Logs {
		logs[log.Origin] = readHistory(log.KeyHistory, pins)
	}
	for _, one := range v.Receipts {
		if reason := ours(func() { checkReceipt(one.File, logs, false) }); reason != "" {
			t.Errorf("%s: %s", one.What, reason)
		}
	}
	for _, one := range v.Evidence {
		if reason := ours(func() { checkEvidence(one.File, logs) }); reason != "" {
			t.Errorf("evidence %s: %s", one.What, reason)
		}
	}
	if reason := ours(func() { checkBundle(v.Bundle, pins) }); reason != "" {
		t.Errorf("a bundle: %s", reason)
	}
	readers := map[string]func(string){
		"receipts":      func(file string) { checkReceipt(file, logs, false) },
		"evidence":      func(file string) { checkEvidence(file, logs) },
		"key_histories": func(file string) { readHistory(file, pins) },
	}
	for name, read := range readers {
		for _, one := range v.Refuse[name] {
			if ours(func() { read(one.Value) }) == "" {
				t.Errorf("%s: %s", name, one.Reason)
			}
		}
	}
}
