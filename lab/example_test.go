package lab_test

import (
	"fmt"
	"os"

	"labnet/lab"
)

// A definition becomes machines with names and addresses.
func ExampleLoad() {
	const text = `
lab "rows" {}

variable "nodes" { default = 1 }

switch "lan" { subnet = "192.168.1.0/24" }

router "gw" {
  on "lan" {}
}

node "worker" {
  count = var.nodes
  on "lan" {}
}
`
	l, files, diags := lab.Load("rows.hcl", []byte(text), lab.Inputs{Vars: map[string]string{"nodes": "2"}})
	if diags.HasErrors() {
		files.Print(os.Stderr, diags, 80, false)
		return
	}
	for _, m := range l.Machines {
		fmt.Println(m.Kind, m.Name, m.Interfaces[0].Addresses)
	}
	// Output:
	// router gw [192.168.1.1/24]
	// node worker1 [192.168.1.2/24]
	// node worker2 [192.168.1.3/24]
}

// What is wrong with a definition is a diagnostic with its place.
func ExampleFiles_Print() {
	_, files, diags := lab.Load("rows.hcl", []byte("lab \"rows\" {}\n\nhost \"h\" {\n  on \"lna\" {}\n}\n\nswitch \"lan\" { subnet = \"192.168.1.0/24\" }\n"), lab.Inputs{})
	files.Print(os.Stdout, diags, 80, false)
	// Output:
	// Error: Unknown switch
	//
	//   on rows.hcl line 4, in host "h":
	//    4:   on "lna" {}
	//
	// There is no switch "lna". Did you mean "lan"?
}
