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
 * `docs/states.md` shows the table; `python -m tools.draw_link_states` writes it, with what `link_state_words.js` says of
 * each state and trigger.
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

    Object.assign(flash, {linkStates: {LinkLife, transitions}});
})();
