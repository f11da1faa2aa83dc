package testbed

import (
	"fmt"
	"runtime/debug"
)

// Fault is a panic: a mistake in the program. It travels as an error, so that what was being built is removed all the same.
type Fault struct {
	Value any
	Stack []byte
}

func (f Fault) Error() string { return fmt.Sprintf("internal error: %v", f.Value) }

// catch makes a panic of the calling function its error.
func catch(err *error) {
	if value := recover(); value != nil {
		*err = Fault{value, debug.Stack()}
	}
}
