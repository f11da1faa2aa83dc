package lab

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

const (
	maxSource = 1 << 20
	maxDepth  = 500
	maxQuoted = 16 << 10 // bytes of a string as written: the parser puts its pieces together in quadratic time
)

// guard refuses text that the parser, which is recursive, could not survive: a Go program that runs out of stack cannot
// recover. The lexer is not recursive, and depth can be read off its tokens: brackets nest, and so do operators, which
// is why each counts as one level until a comma or the end of the line ends its expression.
func guard(filename string, src []byte) hcl.Diagnostics {
	if len(src) > maxSource {
		return hcl.Diagnostics{{
			Severity: hcl.DiagError,
			Summary:  "File too large",
			Detail:   fmt.Sprintf("%s has more than %d bytes, which is the limit for a definition. Use count or for_each instead of repeating blocks.", filename, maxSource),
			Subject:  &hcl.Range{Filename: filename, Start: hcl.InitialPos, End: hcl.InitialPos},
		}}
	}
	tokens, _ := hclsyntax.LexConfig(src, filename, hcl.InitialPos)
	return bounded(tokens)
}

// bounded reports nesting and strings that the parser could not survive.
func bounded(tokens hclsyntax.Tokens) hcl.Diagnostics {
	type level struct {
		open hclsyntax.TokenType
		run  int // operators in the current expression
		text int // bytes of the current string
	}
	levels := []level{{}}
	depth := 0 // len(levels) plus all runs
	for _, t := range tokens {
		top := &levels[len(levels)-1]
		if t.Type == hclsyntax.TokenQuotedLit || t.Type == hclsyntax.TokenStringLit {
			if top.text += len(t.Bytes); top.text > maxQuoted {
				return hcl.Diagnostics{{
					Severity: hcl.DiagError,
					Summary:  "String too long",
					Detail:   fmt.Sprintf("A string is written with at most %d bytes.", maxQuoted),
					Subject:  t.Range.Ptr(),
				}}
			}
		} else if t.Type != hclsyntax.TokenTemplateInterp && t.Type != hclsyntax.TokenTemplateControl && t.Type != hclsyntax.TokenTemplateSeqEnd {
			top.text = 0
		}
		switch t.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp:
			levels = append(levels, level{open: t.Type})
			depth++
		case hclsyntax.TokenTemplateControl: // closed at once, but what it begins (if, for) goes on
			top.run++
			depth++
			levels = append(levels, level{open: t.Type})
			depth++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd:
			if len(levels) > 1 {
				depth -= 1 + top.run
				levels = levels[:len(levels)-1]
				levels[len(levels)-1].run++ // a[0][0][0]
				depth++
			}
		case hclsyntax.TokenComma:
			depth -= top.run
			top.run = 0
		case hclsyntax.TokenNewline:
			if top.open == 0 || top.open == hclsyntax.TokenOBrace {
				depth -= top.run
				top.run = 0
			}
		case hclsyntax.TokenIdent, hclsyntax.TokenNumberLit, hclsyntax.TokenStringLit, hclsyntax.TokenQuotedLit,
			hclsyntax.TokenOQuote, hclsyntax.TokenCQuote, hclsyntax.TokenComment, hclsyntax.TokenEqual, hclsyntax.TokenEOF:
		default:
			top.run++
			depth++
		}
		if depth > maxDepth {
			return hcl.Diagnostics{{
				Severity: hcl.DiagError,
				Summary:  "Expression too deep",
				Detail:   "Brackets and operators are nested too deeply here. Give parts of the expression a name in a locals block.",
				Subject:  t.Range.Ptr(),
			}}
		}
	}
	return nil
}
