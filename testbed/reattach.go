package testbed

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"labnet/lab/plan"
)

// Attachments are those of a plan, in its order.
func Attachments(s *plan.State) (all []plan.Attachment) {
	for _, o := range s.Objects() {
		if a, ok := o.(plan.Attachment); ok {
			all = append(all, a)
		}
	}
	return all
}

// Reattach detaches pods and then attaches them again, so many at once, and says for how long the plugins of each have worked.
// What it makes is not taken for the plugins': it is for a lab that is about to go.
func Reattach(ctx context.Context, all []plan.Attachment, atOnce int) (dels, adds []time.Duration, err error) {
	each := func(call func(plan.Attachment) (time.Duration, error)) ([]time.Duration, error) {
		took, errs := make([]time.Duration, len(all)), make([]error, len(all))
		next := make(chan int)
		var wait sync.WaitGroup
		for range min(atOnce, len(all)) {
			wait.Go(func() {
				for i := range next {
					if errs[i] = ctx.Err(); errs[i] == nil {
						took[i], errs[i] = call(all[i])
					}
				}
			})
		}
		for i := range all {
			next <- i
		}
		close(next)
		wait.Wait()
		return took, errors.Join(errs...)
	}
	dels, err = each(func(a plan.Attachment) (time.Duration, error) {
		return pluginsOf(a.Namespace).Del(ctx, a.Pod, netnsOf(a.Into))
	})
	if err != nil {
		return nil, nil, err
	}
	adds, err = each(func(a plan.Attachment) (time.Duration, error) {
		return pluginsOf(a.Namespace).Add(ctx, a, netnsOf(a.Into), func(device string) (int, error) { return mtuOf(a.Into, device) })
	})
	return dels, adds, err
}

func mtuOf(namespace, device string) (mtu int, err error) {
	place, err := Open(namespace)
	if err != nil {
		return 0, err
	}
	defer place.Close()
	err = place.Do(func() error {
		i, err := net.InterfaceByName(device)
		if err == nil {
			mtu = i.MTU
		}
		return err
	})
	return mtu, err
}
