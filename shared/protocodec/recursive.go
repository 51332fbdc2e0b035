package protocodec

import "google.golang.org/protobuf/reflect/protoreflect"

// recursive reports whether messages of d may be nested to any depth.
func (c *Codec) recursive(d protoreflect.MessageDescriptor) bool {
	if known, ok := c.kinds.Load(d.FullName()); ok {
		return known.(bool)
	}
	is := loops(d, map[protoreflect.FullName]bool{})
	c.kinds.Store(d.FullName(), is)
	return is
}

// loops reports whether d is in itself, or has something that may have any extension
// in it. around says of each message that was met whether d is within it.
func loops(d protoreflect.MessageDescriptor, around map[protoreflect.FullName]bool) bool {
	name := d.FullName()
	if within, met := around[name]; met {
		return within
	}
	if d.ExtensionRanges().Len() > 0 {
		return true
	}
	around[name] = true
	for i := range d.Fields().Len() {
		if inner := d.Fields().Get(i).Message(); inner != nil && loops(inner, around) {
			return true
		}
	}
	around[name] = false
	return false
}
