// Answers for a table of NO_PROXY lists and URLs whether a Go program, such as the Collector, goes past the proxy. The
// table of otelet's own tests is made and compared with it:
//
//	go run . ../../src/http/tests/no_proxy.txt
//
// prints the table with the answers of golang.org/x/net/http/httpproxy, and fails if the file has others.
package main

import (
	"fmt"
	"net/url"
	"os"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	var table strings.Builder
	for _, line := range strings.SplitAfter(string(text), "\n") {
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if strings.HasPrefix(line, "#") || len(columns) < 3 {
			table.WriteString(line)
			continue
		}
		list := strings.ReplaceAll(columns[1], `\t`, "\t")
		where, err := url.Parse(columns[2])
		if err != nil {
			panic(err)
		}
		config := httpproxy.Config{HTTPProxy: "http://proxy:1", HTTPSProxy: "http://proxy:1", NoProxy: list}
		proxy, err := config.ProxyFunc()(where)
		if err != nil {
			panic(err)
		}
		answer := "direct"
		if proxy != nil {
			answer = "proxy"
		}
		fmt.Fprintf(&table, "%s\t%s\t%s\n", answer, columns[1], columns[2])
	}
	fmt.Print(table.String())
	if table.String() != string(text) {
		fmt.Fprintln(os.Stderr, "the file has other answers")
		os.Exit(1)
	}
}
