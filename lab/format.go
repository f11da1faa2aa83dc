package lab

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Format returns a definition in the usual layout. A text that is no HCL is returned as it is, with what is wrong: what
// cannot be understood cannot be laid out.
func Format(filename string, src []byte) ([]byte, hcl.Diagnostics) {
	if _, diags := parse(filename, src); diags.HasErrors() {
		return src, diags
	}
	return hclwrite.Format(src), nil
}
