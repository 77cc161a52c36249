// Verify checks a receipt, a bundle or a piece of evidence of ledgerd offline. It was written from
// docs/format.md alone, with Go's standard library, and shares nothing with the product; numbers of
// sections are that page's. It keeps no table of codes: places, sectors and rules are not looked up.
//
//	verify receipt  FILE --trust FILE --keys FILE [--keys FILE] [--require-cosignature]
//	verify bundle   FILE --trust FILE
//	verify evidence FILE --trust FILE --keys FILE
//
// Exit codes: 0 verified, 1 it proves nothing, 2 usage.
package main

import (
	"flag"
	"fmt"
	"os"
)

type options struct {
	trust    string
	keys     []string
	cosigned bool
}

func main() {
	if len(os.Args) < 3 {
		usage(fmt.Errorf("verify receipt|bundle|evidence FILE --trust FILE [--keys FILE]..."))
	}
	var given options
	flags := flag.NewFlagSet("verify", flag.ExitOnError)
	flags.StringVar(&given.trust, "trust", "", "trust file")
	flags.Func("keys", "key history; give one for each log", func(path string) error {
		given.keys = append(given.keys, path)
		return nil
	})
	flags.BoolVar(&given.cosigned, "require-cosignature", false, "refuse what the other side has not cosigned")
	flags.Parse(os.Args[3:])
	said, err := run(os.Args[1], os.Args[2], given)
	if err != nil {
		fmt.Fprintln(os.Stderr, "does not verify:", err)
		os.Exit(1)
	}
	fmt.Println("verified:", said)
}

func run(what, path string, given options) (said string, err error) {
	file, trust := read(path), read(given.trust)
	var files []string
	for _, name := range given.keys {
		files = append(files, read(name))
	}
	defer func() {
		if thrown := recover(); thrown != nil {
			reason, isOurs := thrown.(refusal)
			if !isOurs {
				panic(thrown)
			}
			err = fmt.Errorf("%s", string(reason))
		}
	}()
	pins := readTrust(trust)
	logs := map[string]*history{}
	for _, file := range files {
		log := readHistory(file, pins)
		logs[log.origin] = log
	}
	switch what {
	case "receipt":
		return checkReceipt(file, logs, given.cosigned).String(), nil
	case "bundle":
		return checkBundle(file, pins), nil
	case "evidence":
		return checkEvidence(file, logs), nil
	}
	usage(fmt.Errorf("receipt, bundle or evidence, not %q", what))
	return "", nil
}

func read(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		usage(err)
	}
	return string(content)
}

func usage(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(2)
}
