// @ts-check
/**
 * The states of the page's link, and the transitions between them: everything that is possible stands in one table.
 *
 * The link is the response over which the server sends the page its events; the browser's `EventSource` reads it. An
 * EventSource says little of its state: the same `error` is fired for a link that was cut, after which it opens another
 * by itself, and for one that the server has refused, after which it stays closed. And a page that is being left or was
 * replaced is not to open a link at all. The state tells these cases apart.
 *
 * `advance` throws on a trigger that the table does not have for the present state: that is a bug in Flash. Where a
 * trigger may come late and be of no matter, such as a timer's, the caller asks `allows` first.
 *
 * `docs/states.md` shows the table; `python -m tools.draw_link_states` writes it.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {'idle' | 'connecting' | 'open' | 'reconnecting' | 'refused' | 'left' | 'replaced'} LinkState
 * @typedef {'begun' | 'greeted' | 'cut' | 'silent' | 'denied' | 'retried' | 'restarted' | 'taken over' | 'hidden'
 *           | 'shown'} LinkTrigger
 */

(function () {
    const {flash} = /** @type {any} */ (window);

    /** What each state means. @type {Record<LinkState, string>} */
    const meanings = {
        idle: 'The page does not know its token yet.',
        connecting: 'A link was asked for, and the server has not sent `hello` on it.',
        open: 'The server has sent `hello`, and sends events.',
        reconnecting: 'The link was cut; the EventSource opens another by itself.',
        refused: 'The server has refused the link; the next attempt comes after a pause.',
        left: 'The page has been left. It may come back from the back/forward cache.',
        replaced: 'Another page has taken over the token: this one opens no link any more.'
    };

    /** When each trigger comes. @type {Record<LinkTrigger, string>} */
    const causes = {
        begun: 'The layout has brought the token.',
        greeted: '`hello` has come.',
        cut: 'The EventSource has fired `error`, and opens another link.',
        silent: 'Nothing has come for too long, or nothing of a stream that runs elsewhere: another link may help.',
        denied: 'The EventSource has fired `error`, and is closed; or `over` has come.',
        retried: 'The pause after a refusal is over, and `_flash/status` has been asked for its reason.',
        restarted: 'The server has answered that it does not know the page as it is: the page starts a new life.',
        'taken over': 'The server has answered that the page has another link, by `over` or by `_flash/status`.',
        hidden: 'The browser has fired `pagehide`.',
        shown: 'The browser has fired `pageshow`.'
    };

    /** @type {Record<LinkState, Partial<Record<LinkTrigger, LinkState>>>} */
    const transitions = {
        idle: {begun: 'connecting'},
        connecting: {
            greeted: 'open',
            cut: 'connecting',
            silent: 'connecting',
            denied: 'refused',
            restarted: 'connecting',
            'taken over': 'replaced',
            hidden: 'left'
        },
        open: {
            cut: 'reconnecting',
            silent: 'connecting',
            denied: 'refused',
            restarted: 'connecting',
            'taken over': 'replaced',
            hidden: 'left'
        },
        reconnecting: {
            greeted: 'open',
            cut: 'reconnecting',
            silent: 'connecting',
            denied: 'refused',
            restarted: 'connecting',
            'taken over': 'replaced',
            hidden: 'left'
        },
        refused: {
            retried: 'connecting',
            restarted: 'connecting',
            shown: 'connecting',
            'taken over': 'replaced',
            hidden: 'left'
        },
        left: {shown: 'connecting'},
        replaced: {}
    };

    /** The state of one link. */
    class LinkLife {
        /** @type {LinkState} */
        state = 'idle';

        /**
         * Whether a trigger is possible in the present state.
         * @param {LinkTrigger} trigger
         */
        allows(trigger) {
            return transitions[this.state][trigger] !== undefined;
        }

        /**
         * Move on to the state that a trigger leads to.
         * @param {LinkTrigger} trigger
         */
        advance(trigger) {
            const after = transitions[this.state][trigger];
            if (after === undefined) {
                throw new Error(`Flash: a link that is ${this.state} cannot take the trigger "${trigger}".`);
            }
            this.state = after;
        }
    }

    Object.assign(flash, {linkStates: {LinkLife, transitions, meanings, causes}});
})();
