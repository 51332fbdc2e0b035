// Package browser starts Chromium for tests of pages. Its tests press what a person would
// press; `make test-all` runs them, and `make test` does not.
package browser
