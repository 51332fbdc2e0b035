package driver

import (
	"fmt"
	"regexp"
)

var validNamespace = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// Namespace returns what the keys of a fleet begin with, in a server that it
// shares with others: "nearbus-" and the namespace, or "nearbus" if that is empty.
// Fleets of different namespaces have no key in common. It is for drivers; the
// error says what a namespace may be.
func Namespace(namespace string) (prefix string, err error) {
	if namespace == "" {
		return "nearbus", nil
	}
	if !validNamespace.MatchString(namespace) {
		return "", fmt.Errorf("namespace %q: want 1 to 64 of A-Z a-z 0-9 _ - and no punctuation in front", namespace)
	}
	return "nearbus-" + namespace, nil
}
