package cni

import (
	"context"
	"errors"
	"slices"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"

	"labnet/lab/plan"
)

// Check asks the plugins whether an attachment is as they made it. Plugins from before 0.4 of the specification cannot be asked.
func (n Node) Check(ctx context.Context, r Record, netns string) error {
	if !r.Done {
		return errors.New("ADD was not completed")
	}
	c, err := n.call(r.Attachment, netns)
	if err != nil {
		return err
	}
	if old(c.list.CNIVersion) {
		return nil
	}
	return c.each.explain("CHECK", c.lib.CheckNetworkList(ctx, c.list, c.rt))
}

func old(version string) bool {
	return slices.Contains([]string{"0.1.0", "0.2.0", "0.3.0", "0.3.1"}, version)
}

// Status asks a node's plugins whether they could attach a pod; those from before 1.1 cannot be asked.
func (n Node) Status(ctx context.Context, a plan.Attachment) error {
	c, err := n.call(a, "")
	if err != nil {
		return err
	}
	c.each.title = machine(a)
	return c.each.explain("STATUS", c.lib.GetStatusNetworkList(ctx, c.list))
}

// Collect tells a node's plugins which attachments there are, so that they let go of others; those from before 1.1 are not told.
func (n Node) Collect(ctx context.Context) error {
	all, err := n.Records()
	if err != nil {
		return err
	}
	valid := map[string][]types.GCAttachment{} // by the configuration that they were made with
	first := map[string]plan.Attachment{}
	for _, r := range all {
		config, err := r.Attachment.Wanted()
		if err != nil {
			return err
		}
		list := string(config.Conflist)
		if _, known := first[list]; !known {
			first[list] = r.Attachment
		}
		valid[list] = append(valid[list], types.GCAttachment{ContainerID: r.Attachment.Into, IfName: config.Device})
	}
	var errs []error
	for list, a := range first {
		c, err := n.call(a, "")
		if err != nil {
			return err
		}
		c.each.title = machine(a)
		errs = append(errs, c.each.explain("GC", c.lib.GCNetworkList(ctx, c.list, &libcni.GCArgs{ValidAttachments: valid[list]})))
	}
	return errors.Join(errs...)
}
