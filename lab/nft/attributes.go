package nft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
)

// A struct is a list of netlink attributes: the tag of a field is its number there, and "opt" after it leaves a zero value
// out. Numbers are in network order, strings end with a zero byte, a struct nests, and a slice of structs is a list of
// elements.

type attribute struct {
	kind  uint16
	opt   bool
	index int // of the field
}

var layouts sync.Map // reflect.Type → []attribute

func layout(t reflect.Type) []attribute {
	if l, ok := layouts.Load(t); ok {
		return l.([]attribute)
	}
	var list []attribute
	for i := range t.NumField() {
		number, opt, _ := strings.Cut(t.Field(i).Tag.Get("nft"), ",")
		if number == "" {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 14)
		if err != nil {
			panic("nft: " + t.String() + ": " + err.Error())
		}
		list = append(list, attribute{uint16(n), opt == "opt", i})
	}
	layouts.Store(t, list)
	return list
}

const (
	nested   = 1 << 15 // NLA_F_NESTED
	listElem = 1       // NFTA_LIST_ELEM
	header   = 4       // of an attribute
)

// begin starts an attribute; end writes how long it has become.
func begin(b []byte, kind uint16) ([]byte, int) {
	b = append(b, 0, 0)
	return binary.NativeEndian.AppendUint16(b, kind), len(b) - 2
}

func end(b []byte, at int) []byte {
	n := len(b) - at
	if n > 0xffff {
		panic(fmt.Sprintf("nft: an attribute of %d bytes", n))
	}
	binary.NativeEndian.PutUint16(b[at:], uint16(n))
	return pad(b)
}

func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// appender and parser are types that have attributes of their own making.
type appender interface{ appendTo(b []byte) []byte }
type parser interface{ parse(b []byte) error }

// encode appends the attributes of a struct.
func encode(b []byte, v reflect.Value) []byte {
	for _, a := range layout(v.Type()) {
		f := v.Field(a.index)
		if a.opt && f.IsZero() || f.Kind() == reflect.Pointer && f.IsNil() {
			continue
		}
		if f.Kind() == reflect.Pointer && !f.Type().Implements(reflect.TypeFor[appender]()) {
			f = f.Elem()
		}
		b = encodeField(b, a.kind, f)
	}
	return b
}

func encodeField(b []byte, kind uint16, f reflect.Value) []byte {
	if own, ok := f.Interface().(appender); ok {
		b, at := begin(b, kind|nested)
		return end(own.appendTo(b), at)
	}
	switch f.Kind() {
	case reflect.Struct:
		b, at := begin(b, kind|nested)
		return end(encode(b, f), at)
	case reflect.Slice:
		if f.Type().Elem().Kind() != reflect.Uint8 {
			b, at := begin(b, kind|nested)
			for i := range f.Len() {
				b = encodeField(b, listElem, f.Index(i))
			}
			return end(b, at)
		}
	}
	b, at := begin(b, kind)
	switch f.Kind() {
	case reflect.Uint8:
		b = append(b, byte(f.Uint()))
	case reflect.Uint16:
		b = binary.BigEndian.AppendUint16(b, uint16(f.Uint()))
	case reflect.Uint32:
		b = binary.BigEndian.AppendUint32(b, uint32(f.Uint()))
	case reflect.Int32:
		b = binary.BigEndian.AppendUint32(b, uint32(f.Int()))
	case reflect.Uint64:
		b = binary.BigEndian.AppendUint64(b, f.Uint())
	case reflect.String:
		b = append(append(b, f.String()...), 0)
	case reflect.Slice:
		b = append(b, f.Bytes()...)
	default:
		panic("nft: no attribute can hold a " + f.Type().String())
	}
	return end(b, at)
}

// each calls f for every attribute.
func each(b []byte, f func(kind uint16, data []byte) error) error {
	for len(b) >= header {
		n := int(binary.NativeEndian.Uint16(b))
		if n < header || n > len(b) {
			return fmt.Errorf("an attribute of %d bytes where %d are left", n, len(b))
		}
		if err := f(binary.NativeEndian.Uint16(b[2:])&0x3fff, b[header:n]); err != nil {
			return err
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	if len(bytes.Trim(b, "\x00")) > 0 {
		return fmt.Errorf("%d bytes are left that are no attribute", len(b))
	}
	return nil
}

// decode fills a struct from its attributes. What it has no field for is what newer kernels say more.
func decode(b []byte, v reflect.Value) error {
	attributes := layout(v.Type())
	return each(b, func(kind uint16, data []byte) error {
		for _, a := range attributes {
			if a.kind == kind {
				if err := decodeField(data, v.Field(a.index)); err != nil {
					return fmt.Errorf("%s.%s: %w", v.Type().Name(), v.Type().Field(a.index).Name, err)
				}
			}
		}
		return nil
	})
}

func decodeField(data []byte, f reflect.Value) error {
	if f.Kind() == reflect.Pointer {
		f.Set(reflect.New(f.Type().Elem()))
		f = f.Elem()
	}
	if own, ok := f.Addr().Interface().(parser); ok {
		return own.parse(data)
	}
	number := func(size int) error {
		if len(data) != size {
			return fmt.Errorf("%d bytes instead of %d", len(data), size)
		}
		return nil
	}
	switch f.Kind() {
	case reflect.Struct:
		f.SetZero()
		return decode(data, f)
	case reflect.Slice:
		if f.Type().Elem().Kind() == reflect.Uint8 {
			f.SetBytes(bytes.Clone(data))
			return nil
		}
		f.SetZero()
		return each(data, func(_ uint16, data []byte) error {
			e := reflect.New(f.Type().Elem()).Elem()
			if err := decodeField(data, e); err != nil {
				return err
			}
			f.Set(reflect.Append(f, e))
			return nil
		})
	case reflect.Uint8:
		if err := number(1); err != nil {
			return err
		}
		f.SetUint(uint64(data[0]))
	case reflect.Uint16:
		if err := number(2); err != nil {
			return err
		}
		f.SetUint(uint64(binary.BigEndian.Uint16(data)))
	case reflect.Uint32:
		if err := number(4); err != nil {
			return err
		}
		f.SetUint(uint64(binary.BigEndian.Uint32(data)))
	case reflect.Int32:
		if err := number(4); err != nil {
			return err
		}
		f.SetInt(int64(int32(binary.BigEndian.Uint32(data))))
	case reflect.Uint64:
		if err := number(8); err != nil {
			return err
		}
		f.SetUint(binary.BigEndian.Uint64(data))
	case reflect.String:
		text, _, _ := bytes.Cut(data, []byte{0})
		f.SetString(string(text))
	default:
		panic("nft: no attribute can hold a " + f.Type().String())
	}
	return nil
}
