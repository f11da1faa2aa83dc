package testbed

import (
	"fmt"
	"strings"

	"github.com/safchain/ethtool"

	"labnet/lab/plan"
)

// readOffloads reads the features that the plan names, in its form.
func readOffloads(v *visit, link, wanted string) (string, error) {
	if err := v.step(); err != nil {
		return "", err
	}
	e, err := ethtool.NewEthtool()
	if err != nil {
		return "", err
	}
	defer e.Close()
	features, err := e.Features(link)
	if err != nil {
		return "", err
	}
	var words []string
	for word := range strings.FieldsSeq(wanted) {
		name, _, _ := strings.Cut(word, "=")
		words = append(words, name+"="+map[bool]string{true: "on", false: "off"}[features[name]])
	}
	return strings.Join(words, " "), nil
}

func setOffloads(v *visit, _ int, l, before plan.Link) error {
	if l.Offloads == before.Offloads {
		return nil
	}
	if err := v.step(); err != nil {
		return err
	}
	e, err := ethtool.NewEthtool()
	if err != nil {
		return err
	}
	defer e.Close()
	want, err := parseOffloads(l.Offloads)
	if err != nil {
		return err
	}
	return because(e.Change(l.Name, want), "offloads")
}
func parseOffloads(s string) (map[string]bool, error) {
	out := map[string]bool{}
	for word := range strings.FieldsSeq(s) {
		name, value, ok := strings.Cut(word, "=")
		if !ok || value != "on" && value != "off" {
			return nil, fmt.Errorf("%q is not feature=on or feature=off", word)
		}
		out[name] = value == "on"
	}
	return out, nil
}
