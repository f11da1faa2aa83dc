package lab

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// converts is a function of one text that makes another.
func converts(f func(string) (string, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "string", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			text, err := f(args[0].AsString())
			if err != nil {
				return cty.NilVal, function.NewArgError(0, err)
			}
			return cty.StringVal(text), nil
		},
	})
}

var (
	base64encode = converts(func(s string) (string, error) { return base64.StdEncoding.EncodeToString([]byte(s)), nil })
	base64decode = converts(func(s string) (string, error) {
		text, err := base64.StdEncoding.DecodeString(s)
		switch {
		case err != nil:
			return "", errors.New("this is not base64")
		case !utf8.Valid(text):
			return "", errors.New("what it decodes to is no text (UTF-8)")
		}
		return string(text), nil
	})
	sha1sum   = converts(func(s string) (string, error) { return fmt.Sprintf("%x", sha1.Sum([]byte(s))), nil })
	sha256sum = converts(func(s string) (string, error) { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))), nil })
)

// compares is a function of two texts that is true or false.
func compares(second string, f func(s, t string) bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "string", Type: cty.String}, {Name: second, Type: cty.String}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(f(args[0].AsString(), args[1].AsString())), nil
		},
	})
}

// isPattern reports whether replace takes what it is to replace for a pattern: where it is between slashes.
func isPattern(s string) bool {
	return len(s) > 1 && strings.HasPrefix(s, "/") && strings.HasSuffix(s, "/")
}

var replace = function.New(&function.Spec{
	Params: []function.Parameter{{Name: "string", Type: cty.String}, {Name: "substring", Type: cty.String}, {Name: "replacement", Type: cty.String}},
	Type:   function.StaticReturnType(cty.String),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		if from := args[1].AsString(); isPattern(from) {
			return stdlib.RegexReplace(args[0], cty.StringVal(from[1:len(from)-1]), args[2])
		}
		return stdlib.Replace(args[0], args[1], args[2])
	},
})

// anchor is a line of YAML with an anchor or an alias in it.
var anchor = regexp.MustCompile(`(^|[\s\[\{,:-])[&*][A-Za-z0-9_]`)
