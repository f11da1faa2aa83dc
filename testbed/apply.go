package testbed

import (
	"context"

	"labnet/lab/plan"
)

// Apply makes the changes in their order, and calls done after each. It stops at the first that fails, and between two
// when ctx is done. When it returns, what it has set up can be used at once.
func Apply(ctx context.Context, changes []plan.Change, done func(plan.Change)) error {
	_, err := Program(ctx, changes, done)
	return err
}

// Program does what Apply does, and says how many bytes the changes of firewalls were, and those of ipsets and IPVS.
func Program(ctx context.Context, changes []plan.Change, done func(plan.Change)) (bytes int, err error) {
	if len(changes) == 0 {
		return 0, nil
	}
	a := &applier{ctx: ctx, links: map[plan.Key]plan.Link{}, news: news{inet6: map[string]bool{}}, fresh: map[string]bool{}, inherited: map[string]string{}}
	for _, c := range changes {
		if l, ok := c.Object.(plan.Link); ok && c.Op != plan.Delete {
			a.links[l.Key()] = l
		}
	}
	err = onThread(func(t *thread) error {
		a.thread = t
		a.visits = visits{by: t, open: map[string]*visit{}}
		defer a.visits.close()
		defer func() { a.sent += t.sent }()
		for len(changes) > 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if n := together(changes); n > 0 {
				if err := a.changeFirewall(changes[:n], done); err != nil {
					return err
				}
				changes = changes[n:]
				continue
			}
			if err := a.change(changes[0]); err != nil {
				return failed(changes[0], err)
			}
			done(changes[0])
			changes = changes[1:]
		}
		return nil
	})
	if err != nil {
		return a.sent, err
	}
	return a.sent, a.news.ready(ctx)
}

func (a *applier) change(c plan.Change) error {
	k := kindOf(c.Object.Key().Kind)
	if o, ok := c.Object.(plan.Attachment); ok && c.Op != plan.Delete {
		return observed(a.ctx, o, func() error { return k.set(a, c) })
	}
	if c.Op != plan.Delete {
		return k.set(a, c)
	}
	if err := k.remove(a, c.Object); !gone(err) {
		return err
	}
	return nil // somebody else has removed it
}
